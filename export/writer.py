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
    SCHEMA_VERSION,
    Golden,
    Manifest,
    ParityRecord,
    Precision,
    PromptRecord,
    hash_file,
    write_manifest,
    written_at_once,
)
from export.errors import ExportError
from export.gate import AskedPrecision, Built, Gate, Measured, Traced, default_precision
from export.graphs import Graphs, store_graphs
from export.prompt_files import write_prompt
from export.session import DecoderSession
from export.shape import DecoderShape
from quant.packing import FrozenWeight, QuantTensor

GRAPH_FILES: dict[Precision, str] = {"fast": "model.onnx", "exact": "exact.onnx"}
_NUM_GOLDEN_IDS = 5
_NUM_TOP_IDS = 10
_SLACK = 1.15


@dataclass(frozen=True)
class ExportedModel:
    """The frozen base of a bundle.

    Attributes:
        name: What to call it.
        network: The transformers model, frozen, on the CPU in float32.
        weights: Frozen weights by their transformers names.
        weights_hash: sha256 over them.
        tokenizer_json: The tokenizer, as training used it.
    """

    name: str
    network: Any
    weights: Mapping[str, FrozenWeight | Tensor]
    weights_hash: str
    tokenizer_json: str


@dataclass
class BundleWriter:
    """Writes one bundle; iterate over `write`.

    Attributes:
        model: The base.
        gate: The prompt and what it is measured against.
        precision: `auto` takes `fast` where it passes, else `exact`.
        num_threads: Processor threads.
        report_progress: Called with layers stored and their number.
    """

    model: ExportedModel
    gate: Gate
    precision: AskedPrecision = "auto"
    num_threads: int = 0
    report_progress: Callable[[int, int], None] | None = None

    def write(self, destination: Path, *, overwrite: bool) -> Iterator[Measured | Built | Traced]:
        """Write the bundle; nothing is left behind where it fails.

        Args:
            destination (Path): The bundle's folder.
            overwrite (bool): Whether a bundle that is there may be replaced.

        Raises:
            ExportError: The disk is too full.
            ParityError: A graph does not compute what torch computes.
            UnsupportedModelError: No graph can be made of the model.
            BundleError: The destination is taken.
        """
        with written_at_once(destination, overwrite) as folder:
            self._check_space(folder)
            graphs, data_hash = self._store(folder)
            num_nodes = self._write_graphs(folder, graphs)
            if graphs.refusal is not None:
                yield Traced(graphs.refusal, num_nodes)
            yield Built("graphs", 1, 3)
            sessions = {
                precision: DecoderSession(folder / name, graphs.shape, self.num_threads)
                for precision, name in GRAPH_FILES.items()
            }
            parity = yield from self.gate.measure(sessions)
            default = default_precision(parity, self.precision)
            record = write_prompt(folder, self.gate.prompt, sessions, parity)
            golden = self._golden(sessions)
            self._write_manifest(folder, graphs.shape, parity, default, record, golden, data_hash)
            # Windows renames no folder whose files are mapped.
            sessions.clear()
            yield Built("manifest", 3, 3)

    def _check_space(self, folder: Path) -> None:
        """Refuse before writing what would not fit."""
        needed = _SLACK * sum(
            w.numel() * 4 if isinstance(w, Tensor) else w.num_bytes
            for w in self.model.weights.values()
        )
        free = shutil.disk_usage(folder).free
        if free < needed:
            error = ExportError(
                f"The bundle needs about {needed / 1e6:.0f} MB, but {folder.parent} has "
                f"{free / 1e6:.0f} MB free.",
                "Free some space, or name another folder with `--out`.",
            )
            error.category = "resources"
            raise error

    def _store(self, folder: Path) -> tuple[Graphs, str]:
        """The data file and its sha256."""
        blobs = BlobFile(folder / DATA_FILE)
        try:
            model = self.model
            graphs = store_graphs(model.network, model.weights, blobs, self.report_progress)
        finally:
            # Windows removes no folder with an open file in it.
            data_hash = blobs.close()
        return graphs, data_hash

    def _write_graphs(self, folder: Path, graphs: Graphs) -> int:
        """The graph of each precision, and the tokenizer; returns the nodes of the largest."""
        num_nodes = 0
        for precision, name in GRAPH_FILES.items():
            model = graphs.build(precision)
            (folder / name).write_bytes(model.SerializeToString())
            num_nodes = max(num_nodes, len(model.graph.node))
        (folder / "tokenizer.json").write_text(self.model.tokenizer_json, encoding="utf-8")
        return num_nodes

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
        shape: DecoderShape,
        parity: dict[str, ParityRecord],
        default: Precision,
        record: PromptRecord,
        golden: Golden,
        data_hash: str,
    ) -> None:
        files = {
            path.relative_to(folder).as_posix(): hash_file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        if files[DATA_FILE].sha256 != data_hash:
            raise ExportError(
                f"{folder / DATA_FILE} does not read back as it was written.",
                "The disk may be failing; name another folder with `--out`.",
            )
        manifest = Manifest(
            schema=SCHEMA_VERSION,
            model_name=self.model.name,
            weights_hash=self.model.weights_hash,
            grid=_grid_in_words(self.model.weights),
            shape=shape,
            graphs={str(precision): name for precision, name in GRAPH_FILES.items()},
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


def _grid_in_words(weights: Mapping[str, FrozenWeight | Tensor]) -> str:
    kinds = set()
    for weight in weights.values():
        if isinstance(weight, QuantTensor):
            spec = weight.spec
            kinds.add(f"{spec.bits}-bit {spec.form.replace('_', ' ')}, block {spec.block_size}")
        elif not isinstance(weight, Tensor):
            kinds.add("NF4 as 8-bit zero point, block 32")
    return "; ".join(sorted(kinds))
