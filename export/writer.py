"""From a trained prompt to a bundle: store, build, compare, and only then put it in place."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from torch import Tensor

from export import ort
from export.blobs import BlobFile
from export.bundle import (
    PRECISIONS,
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
from export.errors import ExportError, ParityError
from export.family import DecoderSpec, decoder_spec
from export.graph import build_graph
from export.parity import Probe, Reference, ask_reference, measure
from export.prompts import AnyPrompt, PrefixPrompt, save_prefix, save_prompt
from export.rotary import rotary_tables
from export.session import DecoderSession, DecoderShape
from export.stored_model import store_model
from export.template import Template
from quant.packing import FrozenWeight, QuantTensor

GRAPH_FILES: dict[Precision, str] = {"fast": "model.onnx", "exact": "exact.onnx"}
DATA_FILE = "model.data"
CONTINUATION_TOKENS = 32
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
    """

    name: str
    config: Any
    weights: Mapping[str, FrozenWeight | Tensor]
    weights_hash: str
    rotary: Any
    tokenizer_json: str


@dataclass(frozen=True)
class ExportedPrompt:
    """The prompt of a bundle.

    Attributes:
        name: What to call it.
        prompt: Virtual tokens, or the keys and values of every layer.
        lead_ids: Template tokens behind the prompt, computed once with it.
        template: How a row becomes text.
        end_token_id: The token that ends a response.
        max_prompt_tokens: A longer prompt is cut from the left.
        labels: The closed set of responses, or None for free text.
        max_response_tokens: Longest response in training.
        scores: Measured scores by name.
    """

    name: str
    prompt: AnyPrompt
    lead_ids: list[int]
    template: Template
    end_token_id: int
    max_prompt_tokens: int
    labels: list[str] | None
    max_response_tokens: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """What the gate found for a precision."""

    precision: Precision
    record: ParityRecord


@dataclass(frozen=True)
class Built:
    """A step of the writing is done."""

    what: str
    done: int
    total: int


@dataclass
class BundleWriter:
    """Writes one bundle; iterate over `write`.

    Attributes:
        model: The base.
        prompt: What was trained.
        reference: The trained model in torch, exact.
        probes: Rows of tokens to compare on.
        precision: `auto` takes `fast` where it passes, else `exact`.
        num_threads: Processor threads.
        report_progress: Called with layers stored and their number.
    """

    model: ExportedModel
    prompt: ExportedPrompt
    reference: Reference
    probes: Sequence[list[int]]
    precision: Literal["auto", "fast", "exact"] = "auto"
    num_threads: int = 0
    report_progress: Callable[[int, int], None] | None = None

    def write(self, destination: Path, *, overwrite: bool) -> Iterator[Measured | Built]:
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
            data_hash = self._write_graphs(folder, spec)
            yield Built("graphs", 1, 3)
            sessions = {
                precision: DecoderSession(folder / name, _shape(spec), self.num_threads)
                for precision, name in GRAPH_FILES.items()
            }
            probes = ask_reference(self.reference, self.probes, CONTINUATION_TOKENS)
            yield Built("reference", 2, 3)
            parity: dict[str, ParityRecord] = {}
            for precision in reversed(PRECISIONS):
                measured = self._measure(sessions[precision], probes, precision)
                parity[precision] = measured
                yield Measured(precision, measured)
            default = self._default_precision(parity)
            record = self._write_prompt(folder, sessions)
            golden = self._golden(sessions)
            self._write_manifest(folder, spec, parity, default, record, golden, data_hash)
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

    def _write_graphs(self, folder: Path, spec: DecoderSpec) -> str:
        blobs = BlobFile(folder / DATA_FILE)
        tables = rotary_tables(self.model.rotary, spec)
        stored = store_model(spec, self.model.weights, tables, blobs, self.report_progress)
        data_hash = blobs.close()
        for precision, name in GRAPH_FILES.items():
            content = build_graph(stored, precision).SerializeToString()
            (folder / name).write_bytes(content)
        (folder / "tokenizer.json").write_text(self.model.tokenizer_json, encoding="utf-8")
        return data_hash

    def _measure(
        self, session: DecoderSession, probes: Sequence[Probe], precision: Precision
    ) -> ParityRecord:
        return measure(
            session,
            self.prompt.prompt,
            probes,
            CONTINUATION_TOKENS,
            self.prompt.end_token_id,
            precision,
            is_integer_grid=self._is_integer_grid(),
        )

    def _is_integer_grid(self) -> bool:
        return all(
            isinstance(weight, QuantTensor | Tensor) for weight in self.model.weights.values()
        )

    def _default_precision(self, parity: Mapping[str, ParityRecord]) -> Precision:
        """The precision to answer in.

        Raises:
            ParityError: `exact` fails, or `fast` fails and was asked for.
        """
        for precision in ("exact", "fast") if self.precision == "fast" else ("exact",):
            record = parity[precision]
            if not record.passed:
                raise ParityError(
                    f"The graph `{precision}` does not compute what the trained model computes: "
                    f"relative error {record.relative_error:.2g}, KL {record.kl_divergence:.2g}, "
                    f"{record.identical_texts} of {record.num_texts} greedy texts the same.",
                    "`--precision exact` ships the slower, exact graph."
                    if precision == "fast"
                    else "No bundle was written. This is a fault of ptune; please report it.",
                )
        if self.precision == "exact" or not parity["fast"].passed:
            return "exact"
        return "fast"

    def _write_prompt(
        self, folder: Path, sessions: Mapping[Precision, DecoderSession]
    ) -> PromptRecord:
        prompt = self.prompt
        (folder / "prompts").mkdir()
        file = f"prompts/{prompt.name}.safetensors"
        save_prompt(folder / file, prompt.prompt)
        is_whole_prefix = isinstance(prompt.prompt, PrefixPrompt) and not prompt.lead_ids
        prefixes: dict[str, str] = {}
        for precision, session in sessions.items():
            if is_whole_prefix:
                prefixes[precision] = file
                continue
            length = session.begin(prompt.prompt, prompt.lead_ids)
            prefixes[precision] = f"prompts/{prompt.name}.{precision}.kv.safetensors"
            save_prefix(folder / prefixes[precision], session.prefix(length))
        return PromptRecord(
            file=file,
            prefixes=prefixes,
            num_virtual_tokens=prompt.prompt.num_virtual_tokens,
            lead_ids=prompt.lead_ids,
            template=prompt.template,
            end_token_id=prompt.end_token_id,
            max_prompt_tokens=prompt.max_prompt_tokens,
            labels=prompt.labels,
            max_response_tokens=prompt.max_response_tokens,
            scores=prompt.scores,
            kind=prompt.prompt.kind,
        )

    def _golden(self, sessions: Mapping[Precision, DecoderSession]) -> Golden:
        ids = self.probes[0][:_NUM_GOLDEN_IDS]
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
            prompts={self.prompt.name: record},
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
