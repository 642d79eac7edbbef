"""From a trained prompt to a bundle: store, build, compare, and only then put it in place."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch import Tensor

from export import ort
from export.blobs import BlobFile
from export.bundle import (
    DATA_FILE,
    INTEGERS_FILE,
    SCHEMA_VERSION,
    Golden,
    Manifest,
    ParityRecord,
    PromptRecord,
    hash_file,
    write_manifest,
    written_at_once,
)
from export.errors import ExportError
from export.family import DecoderSpec, decoder_spec
from export.gate import AskedPrecision, Built, Gate, Measured, check_parity
from export.graph import build_graph, can_take_layout
from export.pace import Timed, fastest, seconds_per_answer
from export.precisions import Precision
from export.projection import BlockProducts
from export.prompt_files import write_prompt
from export.rotary import rotary_tables
from export.rowwise import Loudness, store_integers
from export.session import DecoderSession, DecoderShape
from export.stored_model import StoredModel, store_model
from quant.packing import FrozenWeight, QuantTensor

GRAPH_FILES: dict[Precision, str] = {
    "fast": "model.onnx",
    "exact": "exact.onnx",
    "throughput": "throughput.onnx",
}
_NUM_GOLDEN_IDS = 5
_NUM_TOP_IDS = 10
_SLACK = 1.15


@dataclass(frozen=True)
class ExportedModel:
    """The frozen base of a bundle.

    Attributes:
        name: What to call it.
        config: transformers configuration.
        weights: Frozen weights by their transformers names.
        weights_hash: sha256 over them.
        rotary: transformers' rotary embedding of the model.
        tokenizer_json: The tokenizer, as training used it.
        loudness: Of the inputs of its layers, behind the prompt.
    """

    name: str
    config: Any
    weights: Mapping[str, FrozenWeight | Tensor]
    weights_hash: str
    rotary: Any
    tokenizer_json: str
    loudness: Loudness


@dataclass
class BundleWriter:
    """Writes one bundle; iterate over `write`.

    Attributes:
        model: The base.
        gate: The prompt and what it is measured against.
        precision: What the bundle answers in; `auto` takes what passes the gate and is fastest.
        num_threads: Processor threads.
        report_progress: Called with layers stored and their number.
    """

    model: ExportedModel
    gate: Gate
    precision: AskedPrecision = "auto"
    num_threads: int = 0
    report_progress: Callable[[int, int], None] | None = None

    def write(self, destination: Path, *, overwrite: bool) -> Iterator[Measured | Built | Timed]:
        """Write the bundle; nothing is left behind where it fails.

        Args:
            destination (Path): The bundle's folder.
            overwrite (bool): Whether a bundle that is there may be replaced.

        Raises:
            ExportError: The disk is too full.
            ParityError: A graph does not compute what torch computes.
            UnsupportedModelError: The family is not covered.
            BundleError: The destination is taken.
        """
        spec = decoder_spec(self.model.config)
        with written_at_once(destination, overwrite) as folder:
            self._check_space(folder)
            data_hashes = self._write_graphs(folder, spec)
            yield Built("graphs", 1, 3)
            sessions = {
                precision: DecoderSession(folder / name, _shape(spec), self.num_threads)
                for precision, name in self._graph_files().items()
            }
            parity = yield from self.gate.measure(sessions)
            check_parity(parity, self.precision)
            default = self.precision
            if default == "auto":
                timed = seconds_per_answer(sessions, self.gate)
                yield from timed
                default = fastest(timed, parity)
                if default != "throughput":
                    del sessions["throughput"], parity["throughput"]
                    for name in (GRAPH_FILES["throughput"], INTEGERS_FILE):
                        (folder / name).unlink()
                        data_hashes.pop(name, None)
            record = write_prompt(folder, self.gate.prompt, sessions, parity)
            golden = self._golden(sessions)
            self._write_manifest(folder, spec, parity, default, record, golden, data_hashes)
            # Windows renames no folder whose files are mapped.
            sessions.clear()
            yield Built("manifest", 3, 3)

    def _check_space(self, folder: Path) -> None:
        """Refuse before writing what would not fit."""
        weights = self.model.weights.values()
        needed = sum(w.numel() * 4 if isinstance(w, Tensor) else w.num_bytes for w in weights)
        if "throughput" in self._graph_files():
            needed += sum(w.shape[0] * w.shape[1] for w in weights if not isinstance(w, Tensor))
        needed *= _SLACK
        free = shutil.disk_usage(folder).free
        if free < needed:
            error = ExportError(
                f"The bundle needs about {needed / 1e6:.0f} MB, but {folder.parent} has "
                f"{free / 1e6:.0f} MB free.",
                "Free some space, or name another folder with `--out`.",
            )
            error.category = "resources"
            raise error

    def _graph_files(self) -> dict[Precision, str]:
        """The graphs to write: `throughput` doubles the bundle, so only where it may be taken."""
        asked = self.precision in ("auto", "throughput")
        return {p: name for p, name in GRAPH_FILES.items() if asked or p != "throughput"}

    def _write_graphs(self, folder: Path, spec: DecoderSpec) -> dict[str, str]:
        """Write all graphs and their data; returns the hashes of the data files."""
        blobs = BlobFile(folder / DATA_FILE)
        tables = rotary_tables(self.model.rotary, spec)
        stored = store_model(spec, self.model.weights, tables, blobs, self.report_progress)
        hashes = {DATA_FILE: blobs.close()}
        for precision in ("fast", "exact"):
            products = BlockProducts(stored.weights, is_exact=precision == "exact")
            _write_graph(folder / GRAPH_FILES[precision], build_graph(stored, products))
        if "throughput" in self._graph_files():
            hashes[INTEGERS_FILE] = self._write_throughput(folder, stored)
        (folder / "tokenizer.json").write_text(self.model.tokenizer_json, encoding="utf-8")
        return hashes

    def _write_throughput(self, folder: Path, stored: StoredModel) -> str:
        blobs = BlobFile(folder / INTEGERS_FILE)
        head = BlockProducts(stored.weights, is_exact=False)
        products = store_integers(stored, self.model.loudness, blobs, head)
        data_hash = blobs.close()
        has_layout = can_take_layout(stored.spec)
        graph = build_graph(stored, products, [blobs], has_layout=has_layout)
        _write_graph(folder / GRAPH_FILES["throughput"], graph)
        return data_hash

    def _golden(self, sessions: Mapping[Precision, DecoderSession]) -> Golden:
        ids = self.gate.rows[0][:_NUM_GOLDEN_IDS]
        top_ids: dict[str, list[int]] = {}
        top_logits: dict[str, list[float]] = {}
        for precision, session in sessions.items():
            logits = session.forward(ids, 0)[0]
            best = np.argsort(-logits)[:_NUM_TOP_IDS]
            top_ids[precision] = best.tolist()
            top_logits[precision] = logits[best].tolist()
        return Golden(ids, top_ids, top_logits)

    def _write_manifest(
        self,
        folder: Path,
        spec: DecoderSpec,
        parity: dict[str, ParityRecord],
        default: Precision,
        record: PromptRecord,
        golden: Golden,
        data_hashes: Mapping[str, str],
    ) -> None:
        files = {
            path.relative_to(folder).as_posix(): hash_file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        changed = [name for name, sha256 in data_hashes.items() if files[name].sha256 != sha256]
        if changed:
            raise ExportError(
                f"{folder / changed[0]} does not read back as it was written.",
                "The disk may be failing; name another folder with `--out`.",
            )
        manifest = Manifest(
            schema=SCHEMA_VERSION,
            model_name=self.model.name,
            weights_hash=self.model.weights_hash,
            grid=_grid_in_words(self.model.weights),
            shape=_shape(spec),
            graphs={precision: GRAPH_FILES[precision] for precision in parity},
            default_precision=default,
            prompts={self.gate.prompt.name: record},
            parity=parity,
            golden=golden,
            files=files,
            versions={
                "ptune": importlib.metadata.version("ptune-tui"),
                "onnx": onnx.__version__,
                "onnxruntime": ort.VERSION,
            },
        )
        write_manifest(folder, manifest)


def _write_graph(path: Path, graph: onnx.ModelProto) -> None:
    path.write_bytes(graph.SerializeToString())


def _shape(spec: DecoderSpec) -> DecoderShape:
    return DecoderShape(
        num_layers=spec.num_layers,
        hidden_size=spec.hidden_size,
        num_key_value_heads=spec.num_key_value_heads,
        head_size=spec.head_size,
        vocab_size=spec.vocab_size,
        context_length=spec.context_length,
    )


def _grid_in_words(weights: Mapping[str, FrozenWeight | Tensor]) -> str:
    kinds = set()
    for weight in weights.values():
        if isinstance(weight, QuantTensor):
            spec = weight.spec
            kinds.add(f"{spec.bits}-bit {spec.form.replace('_', ' ')}, block {spec.block_size}")
        elif not isinstance(weight, Tensor):
            kinds.add("NF4 as 8-bit zero point, block 32")
    return "; ".join(sorted(kinds))
