"""From a trained prompt to a bundle: store, build, compare, and only then put it in place."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch import Tensor

from export import ort
from export.at_once import written_at_once
from export.blobs import BlobFile
from export.bundle import (
    DATA_FILE,
    INTEGERS_FILE,
    MANIFEST,
    SCHEMA_VERSION,
    TOKENIZER_FILE,
    Golden,
    Manifest,
    ParityRecord,
    PromptRecord,
    hash_file,
    write_manifest,
)
from export.errors import ExportError, NotCarriedError, UnsupportedModelError
from export.gate import AskedPrecision, Built, Gate, Measured, Skipped, Traced, check_parity
from export.genai import GenaiBase, genai_graph, genai_tokens, write_default, write_tokenizers
from export.graphs import Graphs, store_graphs
from export.pace import Timed, fastest, seconds_per_answer
from export.precisions import Precision
from export.prompt_files import write_prompt
from export.rowwise import Loudness
from export.session import DecoderSession
from export.shape import DecoderShape
from export.space import check_space
from quant.packing import FrozenWeight, QuantTensor

GRAPH_FILES: dict[Precision, str] = {
    "fast": "model.onnx",
    "exact": "exact.onnx",
    "throughput": "throughput.onnx",
}
Step = Measured | Built | Traced | Timed | Skipped
_NUM_GOLDEN_IDS = 5
_NUM_TOP_IDS = 10


@dataclass(frozen=True)
class ExportedModel:
    """The frozen base of a bundle.

    Attributes:
        name: What to call it.
        network: The transformers model, frozen, on the CPU in float32.
        weights: Frozen weights by their transformers names.
        weights_hash: sha256 over them.
        tokenizer_json: The tokenizer, as training used it.
        listen: Tells how loud the inputs of its layers are, behind the prompt.
    """

    name: str
    network: Any
    weights: Mapping[str, FrozenWeight | Tensor]
    weights_hash: str
    tokenizer_json: str
    listen: Callable[[], Loudness]


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

    def write(self, destination: Path, *, overwrite: bool) -> Iterator[Step]:
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
        with written_at_once(destination, overwrite, MANIFEST) as folder:
            check_space(folder, self._num_bytes())
            graphs, data_hash = self._store(folder)
            hashes = {DATA_FILE: data_hash}
            num_nodes = self._write_graphs(folder, graphs)
            names: list[Precision] = ["fast", "exact"]
            if self._may_be_throughput(graphs):
                hashes[INTEGERS_FILE] = self._write_throughput(folder, graphs)
                names.append("throughput")
            if graphs.refusal is not None:
                yield Traced(graphs.refusal, num_nodes)
            chat_template = yield from self._write_tokenizers(folder, graphs)
            yield Built("graphs", 1, 3)
            sessions = {
                name: DecoderSession(folder / GRAPH_FILES[name], graphs.shape, self.num_threads)
                for name in names
            }
            parity = yield from self.gate.measure(sessions)
            check_parity(parity, self.precision)
            default = self.precision
            if default == "auto":
                timed = seconds_per_answer(sessions, self.gate)
                yield from timed
                default = fastest(timed, parity)
            if default != "throughput" and "throughput" in sessions:
                del sessions["throughput"], parity["throughput"], hashes[INTEGERS_FILE]
                for file in (GRAPH_FILES["throughput"], INTEGERS_FILE):
                    (folder / file).unlink()
            prompt = self.gate.prompt
            record = write_prompt(folder, prompt, sessions, parity, chat_template=chat_template)
            if record.adapter is not None:
                base = GenaiBase(graphs.shape, self.model.network.config.num_attention_heads)
                graph = folder / GRAPH_FILES[genai_graph(default, parity)]
                write_default(folder, graph, base, record, folder)
            golden = self._golden(sessions)
            self._write_manifest(folder, graphs.shape, parity, default, record, golden, hashes)
            # Windows renames no folder whose files are mapped.
            sessions.clear()
            yield Built("manifest", 3, 3)

    def _num_bytes(self) -> int:
        """Of the weights as they are stored."""
        weights = self.model.weights.values()
        num_bytes = sum(w.numel() * 4 if isinstance(w, Tensor) else w.num_bytes for w in weights)
        if self.precision in ("auto", "throughput"):
            num_bytes += sum(w.shape[0] * w.shape[1] for w in weights if not isinstance(w, Tensor))
        return num_bytes

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
        """The graphs of `fast` and `exact`; returns the nodes of the larger one."""
        num_nodes = 0
        precisions: tuple[Precision, ...] = ("fast", "exact")
        for precision in precisions:
            model = graphs.build(precision)
            (folder / GRAPH_FILES[precision]).write_bytes(model.SerializeToString())
            num_nodes = max(num_nodes, len(model.graph.node))
        return num_nodes

    def _may_be_throughput(self, graphs: Graphs) -> bool:
        """Whether to write `throughput`, which doubles the bundle.

        Raises:
            UnsupportedModelError: It was asked for, and the graphs are traced.
        """
        if self.precision == "throughput" and graphs.build_throughput is None:
            raise UnsupportedModelError(
                f"A traced graph has no `throughput`, and this one is traced: {graphs.refusal}",
                "Use `--precision auto`, `fast` or `exact`.",
            )
        return self.precision in ("auto", "throughput") and graphs.build_throughput is not None

    def _write_throughput(self, folder: Path, graphs: Graphs) -> str:
        """The graph of `throughput` and its data file; returns the sha256 of that."""
        assert graphs.build_throughput is not None
        blobs = BlobFile(folder / INTEGERS_FILE)
        try:
            model = graphs.build_throughput(self.model.listen(), blobs)
        finally:
            data_hash = blobs.close()
        (folder / GRAPH_FILES["throughput"]).write_bytes(model.SerializeToString())
        return data_hash

    def _write_tokenizers(
        self, folder: Path, graphs: Graphs
    ) -> Generator[Skipped, None, str | None]:
        """Write the tokenizers; returns ONNX Runtime GenAI's chat template, if it gets one."""
        prompt, plain_json = self.gate.prompt, self.model.tokenizer_json
        try:
            if graphs.refusal is not None:
                raise NotCarriedError(
                    "ONNX Runtime GenAI gets no files: a traced graph keeps its cache another way.",
                    "The bundle answers in `ptune run`, `chat` and `serve`.",
                )
            vocab_size = graphs.shape.vocab_size
            tokens = genai_tokens(plain_json, vocab_size, prompt.prompt.num_virtual_tokens)
            chat_template = tokens.chat_template(prompt)
        except NotCarriedError as error:
            (folder / TOKENIZER_FILE).write_text(plain_json, encoding="utf-8")
            yield Skipped("genai", error.message, error.hint)
            return None
        write_tokenizers(folder, tokens, plain_json, prompt.template)
        return chat_template

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
            shape=shape,
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


def _grid_in_words(weights: Mapping[str, FrozenWeight | Tensor]) -> str:
    kinds = set()
    for weight in weights.values():
        if isinstance(weight, QuantTensor):
            spec = weight.spec
            kinds.add(f"{spec.bits}-bit {spec.form.replace('_', ' ')}, block {spec.block_size}")
        elif not isinstance(weight, Tensor):
            kinds.add("NF4 as 8-bit zero point, block 32")
    return "; ".join(sorted(kinds))
