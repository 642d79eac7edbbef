"""The task that scores a data file with a run's prompt in torch, and with what stands beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ptune_tui.config import load
from ptune_tui.data import check_labels, data_path
from ptune_tui.engine.forgetting import probe_forgetting
from ptune_tui.evaluation.columns import Columns
from ptune_tui.evaluation.contenders import TorchAnswers
from ptune_tui.evaluation.run_columns import columns_for_run
from ptune_tui.evaluation.scored_rows import validation_rows
from ptune_tui.events import Event, Notice, StageFinished, StageStarted, TaskFinished
from ptune_tui.rows import recognise_rows
from ptune_tui.tasks import CONFIG_FILE, RESULT_FILE, EvaluateTask, write_atomically
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
    # Rows first: a file that cannot be scored is refused before a model is loaded.
    config = load(Path(task.run) / CONFIG_FILE)
    columns = config.data
    if task.data is None:
        rows = validation_rows(config).rows[: task.max_rows]
    else:
        path = data_path(task.data)
        fitting = columns_for_run(path, columns, Columns(task.prompt_field, task.response_field))
        columns = fitting.config
        read = recognise_rows(path, columns)
        for sentence in filter(None, (fitting.note, read.about)):
            yield Notice("columns", sentence)
        rows = read.rows[: task.max_rows]
    stage = TunedModelStage(Path(task.run), channel, task.force)
    yield from stage.events()
    tuned = stage.tuned
    labels = tuned.card.labels
    if labels is not None:
        check_labels(rows, labels)
    contenders = TorchContenders(tuned, rows, task, channel)
    notes = contenders.overlaps()
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
    result = TorchAnswers(labels, columns, contenders.answers, forgetting, notes)
    write_atomically(folder / RESULT_FILE, msgspec.json.encode(result))
    yield TaskFinished(time.perf_counter() - started)
