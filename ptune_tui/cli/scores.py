"""Answers and scores of a target, a run (torch) or a bundle (onnxruntime), on rows of a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ptune_tui.cli.display import Display
from ptune_tui.cli.talk import say
from ptune_tui.cli.work import work
from ptune_tui.config import DataConfig
from ptune_tui.events import EvaluationDone, ModelReady, Prediction
from ptune_tui.jobs import new_task_folder
from ptune_tui.metrics import accuracy, macro_f1
from ptune_tui.runs import find_run
from ptune_tui.tasks import RESULT_FILE, EvaluateTask

if TYPE_CHECKING:
    from export.answering import Answerer
    from export.precisions import Precision
    from ptune_tui.rows import Row

Progress = Callable[[str, int, int], None]
_decoder = msgspec.json.Decoder(list[Prediction])


@dataclass(frozen=True)
class Columns:
    """Names of a data file's columns; None for those of training, or to recognise them.

    Attributes:
        prompt: The input.
        response: The answer.
    """

    prompt: str | None = None
    response: str | None = None

    def data_config(self, template: str) -> DataConfig:
        """As `recognise_rows` takes them.

        Args:
            template (str): Jinja that made the prompts of training of several columns, or nothing.
        """
        return DataConfig(
            prompt_field=self.prompt,
            response_field=self.response,
            template=template if template and self.prompt is None else None,
        )


@dataclass(frozen=True)
class TargetScores:
    """What a target answered.

    Attributes:
        target: The run or bundle.
        computed_by: `torch`, `fast` or `exact`.
        predictions: One a row.
        accuracy: Of labels, or exact match.
        macro_f1: None for free text.
        seconds: Time of the scoring alone.
        base_accuracy: Without the soft prompt, where that was asked for.
    """

    target: str
    computed_by: str
    predictions: list[Prediction]
    accuracy: float
    macro_f1: float | None
    seconds: float
    base_accuracy: float | None


def is_bundle(target: str) -> bool:
    """Whether a target is a bundle; else it is a run."""
    return (Path(target) / "manifest.json").is_file()


def score_run(
    target: str,
    data: str,
    columns: Columns,
    *,
    with_base: bool,
    max_rows: int | None,
    force: bool,
    display: Display,
) -> TargetScores:
    """Score a run in torch, in a worker; `force` takes a prompt to other weights."""
    from ptune_tui.data import data_path
    from ptune_tui.reading.source import absolute

    run = find_run(target)
    folder = new_task_folder("evaluate")
    task = EvaluateTask(
        run=str(run.absolute()),
        data=absolute(data_path(data).as_posix()),
        with_base=with_base,
        max_rows=max_rows,
        prompt_field=columns.prompt,
        response_field=columns.response,
        force=force,
    )
    events = work(folder, task, display)
    evaluations = [event for event in events if isinstance(event, EvaluationDone)]
    tuned = next(event for event in evaluations if event.tuned)
    base = next((event.accuracy for event in evaluations if not event.tuned), None)
    kernel = next(event.kernel for event in events if isinstance(event, ModelReady))
    return TargetScores(
        target=str(run),
        computed_by=f"torch, {kernel}",
        predictions=_decoder.decode((folder / RESULT_FILE).read_bytes()),
        accuracy=tuned.accuracy,
        macro_f1=tuned.macro_f1,
        seconds=tuned.seconds,
        base_accuracy=base,
    )


def score_bundle(
    target: str,
    data: str,
    columns: Columns,
    *,
    prompt: str | None,
    precision: Precision | None,
    num_threads: int,
    with_base: bool,
    max_rows: int | None,
    on_progress: Progress,
) -> TargetScores:
    """Score a bundle in onnxruntime, in this process."""
    from export.runtime import Bundle
    from ptune_tui.data import check_labels, data_path
    from ptune_tui.rows import recognise_rows

    bundle = Bundle.open(target, precision, num_threads)
    tuned = bundle.tuned(prompt)
    read = recognise_rows(data_path(data), columns.data_config(tuned.record.template.columns))
    if read.about:
        say(f"note: {read.about}")
    rows = read.rows[:max_rows]
    labels = tuned.record.labels
    if labels is not None:
        check_labels(rows, labels)
    base_accuracy = None
    expected = [row.response for row in rows]
    if with_base:
        answers, _ = _answers(bundle.base(prompt), rows, on_progress, "the base")
        base_accuracy = accuracy(expected, answers)
    answers, seconds = _answers(tuned, rows, on_progress, "tuned")
    return TargetScores(
        target=target,
        computed_by=bundle.precision,
        predictions=[
            Prediction(row.prompt, row.response, answer)
            for row, answer in zip(rows, answers, strict=True)
        ],
        accuracy=accuracy(expected, answers),
        macro_f1=None if labels is None else macro_f1(expected, answers),
        seconds=seconds,
        base_accuracy=base_accuracy,
    )


def flips(one: Sequence[Prediction], other: Sequence[Prediction]) -> list[int]:
    """Rows that two targets answer differently, by number from 0."""
    return [
        number
        for number, (left, right) in enumerate(zip(one, other, strict=True))
        if left.answer != right.answer
    ]


def _answers(
    answerer: Answerer, rows: Sequence[Row], on_progress: Progress, who: str
) -> tuple[list[str], float]:
    def show(num_done: int) -> None:
        on_progress(f"scoring, {who}:", num_done, len(rows))

    is_chat = answerer.encoder.renderer.is_chat
    requests = [row.request(is_chat=is_chat) for row in rows]

    started = time.perf_counter()
    if answerer.record.labels is not None:
        found = answerer.classify_rows(requests, show)
        return [answer.label for answer in found], time.perf_counter() - started
    answers = []
    for number, request in enumerate(requests, start=1):
        answers.append(answerer.answer(request))
        show(number)
    return answers, time.perf_counter() - started
