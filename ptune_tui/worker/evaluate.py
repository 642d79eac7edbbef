"""The task that scores a data file with a run's prompt in torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

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
from ptune_tui.tasks import RESULT_FILE, EvaluateTask, write_atomically
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.tuned_model import TunedModelStage


def evaluate(task: EvaluateTask, folder: Path, channel: Channel) -> Iterator[Event]:
    """Score a file; the answers go to `result.json` in the task's folder.

    Args:
        task (EvaluateTask): Which run and which file.
        folder (Path): The task's folder.
        channel (Channel): Where progress is said.
    """
    started = time.perf_counter()
    stage = TunedModelStage(Path(task.run), channel, task.force)
    yield from stage.events()
    tuned = stage.tuned
    card = tuned.card
    columns = msgspec.structs.replace(
        tuned.config.data,
        prompt_field=task.prompt_field or tuned.config.data.prompt_field,
        response_field=task.response_field or tuned.config.data.response_field,
        template=None if task.prompt_field else tuned.config.data.template,
    )
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
    yield TaskFinished(time.perf_counter() - started)
