"""A bundle as the bench asks it: the runtime's own calls, without torch.

Legend: P virtual tokens, H hidden.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from export import ort
from export.answering import Answerer
from export.manifest import PromptRecord, data_files, tokenizer_file
from export.manifest_file import MANIFEST
from export.prompts import TokenPrompt
from export.runtime import Bundle
from export.template import Template
from ptune_tui.answering_speed import (
    SCORED_VIRTUAL_TOKENS,
    SHORT_TOKENS,
    VIRTUAL_LENGTHS,
    Measure,
    first_token_name,
)
from ptune_tui.worker.bench.answering.contender import Timed
from ptune_tui.worker.bench.answering.files import PROMPT, AnsweringFolder, ChildSetting, Inputs
from ptune_tui.worker.bench.messages import Taken, TakenFigure

_NUM_REPEATS = 5  # of what takes milliseconds; the median is a round's value


class OurAnswers:
    """One graph of a bundle, opened and verified as `ptune run` does.

    Args:
        child (ChildSetting): Which bundle, and how many threads.
        precision (str): The graph.
        folder (AnsweringFolder): Where the bundle and the soft prompt lie.
        inputs (Inputs): Template, labels and rows.
    """

    def __init__(
        self, child: ChildSetting, precision: str, folder: AnsweringFolder, inputs: Inputs
    ) -> None:
        path = folder.bundle(child.setting)
        graph: Any = precision  # the bundle says which it has
        self._bundle = Bundle.open(path, graph, child.setting.num_threads)
        self._inputs = inputs
        self._prompt_file = folder.prompt
        self.computed_by = f"onnxruntime {ort.VERSION}, graph `{precision}`"
        self.measures: Mapping[Measure, Callable[[], Taken]] = {
            "first-token": self._take_first_tokens,
            "swap": self._take_swaps,
            "scoring": self._take_scoring,
        }

    def answer(self, ids: Sequence[int], num_tokens: int) -> Timed:
        """Read tokens and decode so many further ones, without a soft prompt."""
        session = self._bundle.session
        self._bundle.release()
        started = time.perf_counter()
        token = int(session.forward(ids, 0)[0].argmax())
        read = time.perf_counter()
        for position in range(len(ids), len(ids) + num_tokens):
            token = int(session.forward([token], position)[0].argmax())
        return Timed(read - started, time.perf_counter() - read)

    def num_bytes(self) -> int:
        """Bytes of what this precision opens: graph, data, tokenizer, prompts, manifest."""
        manifest, precision = self._bundle.manifest, self._bundle.precision
        names = {manifest.graphs[precision], tokenizer_file(manifest), *data_files(precision)}
        for record in manifest.prompts.values():
            names |= {record.file, record.prefixes[precision]}
        listed = sum(manifest.files[name].num_bytes for name in names)
        return listed + (self._bundle.folder / MANIFEST).stat().st_size

    def _take_first_tokens(self) -> Taken:
        """From a request's text to its first token, behind soft prompts that are in memory."""
        figures = []
        for length in VIRTUAL_LENGTHS:
            answerer = self._answerers[length]
            answerer.read(self._inputs.request)  # puts its prefix into the cache
            seconds = _median_seconds(partial(_first_token, answerer, self._inputs.request))
            figures.append(TakenFigure(first_token_name(length), "s", seconds))
        return Taken(figures)

    def _take_swaps(self) -> Taken:
        """Putting a soft prompt in the place of another one."""
        figures = []
        other = self._answerers[VIRTUAL_LENGTHS[0]]
        for length in VIRTUAL_LENGTHS[1:]:
            seconds = []
            for _ in range(_NUM_REPEATS):
                other.prefix.hold()
                started = time.perf_counter()
                self._answerers[length].prefix.hold()
                seconds.append(time.perf_counter() - started)
            figures.append(TakenFigure(f"swap P={length}", "s", statistics.median(seconds)))
        return Taken(figures)

    def _take_scoring(self) -> Taken:
        """The label of every row, from its text."""
        answerer = self._answerers[SCORED_VIRTUAL_TOKENS]
        texts = [row.text for row in self._inputs.rows]
        started = time.perf_counter()
        answers = [answer.label for answer in answerer.classify_rows(texts)]
        seconds = time.perf_counter() - started
        return Taken([TakenFigure("scoring", "rows/s", len(texts) / seconds)], answers)

    @cached_property
    def _answerers(self) -> dict[int, Answerer]:
        """The runtime's answerer behind each length of soft prompt, by the length."""
        embeddings_PH = load_file(self._prompt_file)[PROMPT]
        return {length: self._answerer(embeddings_PH[:length]) for length in VIRTUAL_LENGTHS}

    def _answerer(self, embeddings_PH: npt.NDArray[np.float32]) -> Answerer:
        inputs, length = self._inputs, len(embeddings_PH)
        record = PromptRecord(
            file="",
            prefixes={},
            num_virtual_tokens=length,
            lead_ids=inputs.lead_ids,
            template=msgspec.convert(inputs.template, Template),
            end_token_id=inputs.end_token_id,
            max_prompt_tokens=inputs.context_length - length - SHORT_TOKENS,
            labels=inputs.labels or None,
            max_response_tokens=max(map(len, inputs.label_ids), default=SHORT_TOKENS),
            scores={},
        )
        prompt = TokenPrompt(embeddings_PH) if length else None
        return Answerer(self._bundle, f"bench:{length}", record, prompt, None)


def _first_token(answerer: Answerer, request: str) -> int:
    return int(answerer.read(request)[0].argmax())


def _median_seconds(work: partial[int]) -> float:
    seconds = []
    for _ in range(_NUM_REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
