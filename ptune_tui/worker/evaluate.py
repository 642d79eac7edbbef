"""The task that scores a data file with a run's prompt in torch, and with what stands beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

<<<<<<< HEAD
from ptune_tui.data import check_labels, data_path
from ptune_tui.engine.forgetting import probe_forgetting
from ptune_tui.evaluation.contenders import TorchAnswers
from ptune_tui.events import Event, StageFinished, StageStarted, TaskFinished
from ptune_tui.rows import read_rows
=======
from export.encoding import answer_limit
from ptune_tui.data import check_labels, data_path, encode_rows
from ptune_tui.engine.evaluate import Evaluator
from ptune_tui.engine.validation import evaluation_event
from ptune_tui.events import (
    Event,
    Notice,
    Prediction,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFinished,
)
from ptune_tui.rows import recognise_rows
>>>>>>> reading
from ptune_tui.tasks import RESULT_FILE, EvaluateTask, write_atomically
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.contenders import TorchContenders
from ptune_tui.worker.tuned_model import TunedModelStage


def evaluate(task: EvaluateTask, folder: Path, channel: Channel) -> Iterator[Event]:
    """Score a file; the answers go to `result.json` in the task's folder.

    Args:
        task (EvaluateTask): Which run, which file, which contenders.
        folder (Path): The task's folder.
        channel (Channel): Where progress is said.
    """
    started = time.perf_counter()
    stage = TunedModelStage(Path(task.run), channel, task.force)
    yield from stage.events()
    tuned = stage.tuned
    columns = msgspec.structs.replace(
        tuned.config.data,
        prompt_field=task.prompt_field or tuned.config.data.prompt_field,
        response_field=task.response_field or tuned.config.data.response_field,
        template=None if task.prompt_field else tuned.config.data.template,
    )
<<<<<<< HEAD
    rows = read_rows(data_path(task.data), columns)[: task.max_rows]
    labels = tuned.card.labels
    if labels is not None:
        check_labels(rows, labels)
    contenders = TorchContenders(tuned, rows, task, channel)
    notes = []
    for key in task.contenders:
        note = contenders.missing(key)
        if note is None:
            yield from contenders.ask(key)
        else:
            notes.append(note)
    forgetting = []
    if task.with_forgetting:
        yield StageStarted("evaluate", time.time(), "what the prompt does elsewhere")
        before = time.perf_counter()
        forgetting = probe_forgetting(tuned.frozen, tuned.prompt)
        yield StageFinished("evaluate", time.perf_counter() - before)
    result = TorchAnswers(
        labels,
        columns.prompt_field,
        columns.response_field,
        contenders.answers,
        forgetting,
        notes,
    )
    write_atomically(folder / RESULT_FILE, msgspec.json.encode(result))
=======
    read = recognise_rows(data_path(task.data), columns)
    if read.about:
        yield Notice("columns", read.about)
    rows = read.rows[: task.max_rows]
    if card.labels is not None:
        check_labels(rows, card.labels)
    encoder = tuned.encoder()
    encoded = encode_rows(rows, encoder, card.max_prompt_tokens)
    limit = answer_limit(card.max_response_tokens)
    evaluator = Evaluator(tuned.frozen, encoder, card.labels, limit)

    def say_progress(done: int, total: int) -> None:
        channel.progress(StageProgress("evaluate", done, total, "rows"))

    prompts = [None, tuned.prompt] if task.with_base else [tuned.prompt]
    for prompt in prompts:
        is_tuned = prompt is not None
        yield StageStarted("evaluate", time.time(), "tuned" if is_tuned else "the base")
        scores = evaluator.score(prompt, rows, encoded, say_progress)
        yield evaluation_event(card.step, scores, tuned=is_tuned, is_best=False)
        yield StageFinished("evaluate", scores.seconds)
    predictions = [
        Prediction(row.prompt, row.response, answer)
        for row, answer in zip(rows, scores.answers, strict=True)
    ]
    write_atomically(folder / RESULT_FILE, msgspec.json.encode(predictions))
>>>>>>> reading
    yield TaskFinished(time.perf_counter() - started)
