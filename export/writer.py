"""From a trained prompt to a bundle: store, build, compare, and only then put it in place."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from export import ort
from export.at_once import written_at_once
from export.base_chat import base_chat
from export.bundle import hash_file, write_manifest
from export.errors import ExportError, NotCarriedError
from export.exported_model import ExportedModel
from export.gate import AskedPrecision, Built, Gate, Measured, Skipped, Traced, check_parity
from export.genai import GenaiBase, genai_graph, genai_tokens, write_default, write_tokenizers
from export.graph_files import GRAPH_FILES, GraphFiles, num_bytes, write_graph_files
from export.manifest import (
    SCHEMA_VERSION,
    TOKENIZER_FILE,
    Golden,
    Manifest,
    ParityRecord,
    PromptRecord,
)
from export.manifest_file import MANIFEST
from export.model_card import bundle_card
from export.pace import Timed, fastest, seconds_per_answer
from export.precisions import Precision
from export.prompt_files import write_prompt
from export.readme import README_FILE
from export.session import DecoderSession
from export.space import check_space
from export.template import Template

Step = Measured | Built | Traced | Timed | Skipped
_NUM_GOLDEN_IDS = 5
_NUM_TOP_IDS = 10


@dataclass
class BundleWriter:
    """Writes one bundle; iterate over `write`.

    Attributes:
        model: The base.
        gate: The prompt and what it is measured against.
        precision: What the bundle answers in; `auto` takes what passes the gate and is fastest.
        num_threads: Processor threads.
        report_progress: Called with layers stored and their number.
        keeps_all: Whether every graph stays, whatever the bundle answers in.
    """

    model: ExportedModel
    gate: Gate
    precision: AskedPrecision = "auto"
    num_threads: int = 0
    report_progress: Callable[[int, int], None] | None = None
    keeps_all: bool = False

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
            check_space(folder, num_bytes(self.model, self.precision))
            files = write_graph_files(folder, self.model, self.precision, self.report_progress)
            if files.refusal is not None:
                yield Traced(files.refusal, files.num_nodes)
            chat_template = yield from self._write_tokenizers(folder, files)
            yield Built("graphs", 1, 3)
            sessions = files.open(self.num_threads)
            parity = yield from self.gate.measure(sessions)
            check_parity(parity, self.precision)
            default = yield from self._answers_in(sessions, parity)
            if default != "throughput" and "throughput" in sessions and not self.keeps_all:
                del sessions["throughput"], parity["throughput"]
                files.drop_throughput()
            prompt = self.gate.prompt
            record = write_prompt(folder, prompt, sessions, parity, chat_template=chat_template)
            if record.adapter is not None:
                base = GenaiBase(files.shape, self.model.network.config.num_attention_heads)
                graph = files.path(genai_graph(default, parity))
                write_default(folder, graph, base, record, folder)
            golden = self._golden(sessions)
            base_template = yield from base_chat(self.model.texts)
            manifest = self._write_manifest(files, parity, default, record, golden, base_template)
            card = bundle_card(destination.name, manifest)
            (folder / README_FILE).write_text(card, encoding="utf-8", newline="")
            # Windows renames no folder whose files are mapped.
            sessions.clear()
            yield Built("manifest", 3, 3)

    def _answers_in(
        self, sessions: Mapping[Precision, DecoderSession], parity: Mapping[str, ParityRecord]
    ) -> Generator[Timed, None, Precision]:
        """What the bundle answers in; measured where that is not said."""
        if self.precision != "auto":
            return self.precision
        timed = seconds_per_answer(sessions, self.gate)
        yield from timed
        return fastest(timed, parity)

    def _write_tokenizers(
        self, folder: Path, files: GraphFiles
    ) -> Generator[Skipped, None, str | None]:
        """Write the tokenizers; returns ONNX Runtime GenAI's chat template, if it gets one."""
        prompt, plain_json = self.gate.prompt, self.model.tokenizer_json
        try:
            if files.refusal is not None:
                raise NotCarriedError(
                    "ONNX Runtime GenAI gets no files: a traced graph keeps its cache another way.",
                    "The bundle answers in `ptune run`, `chat` and `serve`.",
                )
            vocab_size = files.shape.vocab_size
            tokens = genai_tokens(plain_json, vocab_size, prompt.prompt.num_virtual_tokens)
            chat_template = tokens.chat_template(prompt)
        except NotCarriedError as error:
            (folder / TOKENIZER_FILE).write_text(plain_json, encoding="utf-8", newline="")
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
        graphs: GraphFiles,
        parity: dict[str, ParityRecord],
        default: Precision,
        record: PromptRecord,
        golden: Golden,
        base_template: Template | None,
    ) -> Manifest:
        folder = graphs.folder
        files = {
            path.relative_to(folder).as_posix(): hash_file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        changed = [
            name for name, sha256 in graphs.data_hashes.items() if files[name].sha256 != sha256
        ]
        if changed:
            raise ExportError(
                f"{folder / changed[0]} does not read back as it was written.",
                "The disk may be failing; name another folder with `--out`.",
            )
        manifest = Manifest(
            schema=SCHEMA_VERSION,
            model_name=self.model.name,
            weights_hash=self.model.weights_hash,
            grid=self.model.grid,
            shape=graphs.shape,
            graphs={precision: GRAPH_FILES[precision] for precision in graphs.precisions},
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
            base_template=base_template,
        )
        write_manifest(folder, manifest)
        return manifest
