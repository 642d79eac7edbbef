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
    MANIFEST,
    SCHEMA_VERSION,
    TOKENIZER_FILE,
    Golden,
    Manifest,
    ParityRecord,
    Precision,
    PromptRecord,
    hash_file,
    write_manifest,
)
from export.errors import ExportError, NotCarriedError
from export.family import DecoderSpec, decoder_spec
from export.gate import AskedPrecision, Built, Gate, Measured, Skipped, default_precision
from export.genai import GenaiBase, genai_tokens, write_default, write_tokenizers
from export.graph import build_graph
from export.prompt_files import write_prompt
from export.rotary import rotary_tables
from export.session import DecoderSession, DecoderShape
from export.space import check_space
from export.stored_model import store_model
from quant.packing import FrozenWeight, QuantTensor

GRAPH_FILES: dict[Precision, str] = {"fast": "model.onnx", "exact": "exact.onnx"}
_NUM_GOLDEN_IDS = 5
_NUM_TOP_IDS = 10


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
    """

    name: str
    config: Any
    weights: Mapping[str, FrozenWeight | Tensor]
    weights_hash: str
    rotary: Any
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

    def write(self, destination: Path, *, overwrite: bool) -> Iterator[Measured | Built | Skipped]:
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
        with written_at_once(destination, overwrite, MANIFEST) as folder:
            check_space(folder, self._num_bytes())
            data_hash = self._write_graphs(folder, spec)
            chat_template = yield from self._write_tokenizers(folder, spec)
            yield Built("graphs", 1, 3)
            sessions = {
                precision: DecoderSession(folder / name, _shape(spec), self.num_threads)
                for precision, name in GRAPH_FILES.items()
            }
            parity = yield from self.gate.measure(sessions)
            default = default_precision(parity, self.precision)
            prompt = self.gate.prompt
            record = write_prompt(folder, prompt, sessions, parity, chat_template=chat_template)
            if record.adapter is not None:
                base = GenaiBase(_shape(spec), spec.num_attention_heads)
                write_default(folder, folder / GRAPH_FILES[default], base, record, folder)
            golden = self._golden(sessions)
            self._write_manifest(folder, spec, parity, default, record, golden, data_hash)
            # Windows renames no folder whose files are mapped.
            sessions.clear()
            yield Built("manifest", 3, 3)

    def _num_bytes(self) -> int:
        """Of the weights as they are stored."""
        return sum(
            w.numel() * 4 if isinstance(w, Tensor) else w.num_bytes
            for w in self.model.weights.values()
        )

    def _write_graphs(self, folder: Path, spec: DecoderSpec) -> str:
        blobs = BlobFile(folder / DATA_FILE)
        tables = rotary_tables(self.model.rotary, spec)
        stored = store_model(spec, self.model.weights, tables, blobs, self.report_progress)
        data_hash = blobs.close()
        for precision, name in GRAPH_FILES.items():
            content = build_graph(stored, precision).SerializeToString()
            (folder / name).write_bytes(content)
        return data_hash

    def _write_tokenizers(
        self, folder: Path, spec: DecoderSpec
    ) -> Generator[Skipped, None, str | None]:
        """Write the tokenizers; returns ONNX Runtime GenAI's chat template, if it gets one."""
        prompt, plain_json = self.gate.prompt, self.model.tokenizer_json
        try:
            tokens = genai_tokens(plain_json, spec.vocab_size, prompt.prompt.num_virtual_tokens)
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
        spec: DecoderSpec,
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
            shape=_shape(spec),
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
