"""The task that trains a soft prompt, from its start or from a checkpoint."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import torch

from ptune_tui.config import RunConfig, dump
from ptune_tui.data import DataSet
from ptune_tui.engine.adapter import save_adapter
from ptune_tui.engine.checkpoints import (
    Checkpoints,
    Origin,
    Stored,
    check_origin,
    read_latest,
    read_state,
)
from ptune_tui.engine.plan import Planned
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.run_state import Progress, RunState
from ptune_tui.engine.trainer import Trainer
from ptune_tui.engine.validation import Validation
from ptune_tui.errors import DataError
from ptune_tui.events import (
    Event,
    Notice,
    ProvenanceNoted,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFinished,
)
from ptune_tui.model_cards import training_record, write_adapter_card
from ptune_tui.prompt_card import PromptCard
from ptune_tui.provenance import provenance
from ptune_tui.run_prompt import ADAPTER_FOLDER
from ptune_tui.run_table import card_table_of
from ptune_tui.tasks import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    PREVIOUS,
    PROBES_FILE,
    TrainTask,
    write_atomically,
)
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.training_task import TrainingTask, TrainingTaskStage

NUM_PROBES = 20


def train(task: TrainTask, folder: Path, channel: Channel) -> Iterator[Event]:
    """Train the soft prompt of a run.

    Args:
        task (TrainTask): The configuration, and whether to go on from a checkpoint.
        folder (Path): The run folder.
        channel (Channel): Where progress is said and commands come from.

    Raises:
        DataError: There is no usable checkpoint, or the rows have changed since.
        UsageError: Training diverged, or the configuration has changed since the checkpoint.
    """
    config = task.config
    started = time.perf_counter()
    stored = read_latest(folder) if task.resume else None
    write_atomically(folder / CONFIG_FILE, dump(config).encode())
    stage = TrainingTaskStage(config, channel, stored.card.plan if stored else None)
    yield from stage.events()
    loaded = stage.task
    _save_probes(folder, loaded.data)
    made_of = provenance(config.data, loaded.rows_hash())
    yield made_of
    origin = Origin(
        config=_config_hash(config),
        weights=loaded.frozen.loaded.report.weights_hash,
        rows=made_of.rows_hash,
        num_threads=torch.get_num_threads(),
    )
    if stored is None:
        yield StageStarted("probe", time.time())
    probe_started = time.perf_counter()
    planned = loaded.planned(stored.card.plan if stored else None)
    yield planned.event
    if stored is None:
        yield StageFinished("probe", time.perf_counter() - probe_started)
    resumed = None
    if stored is not None:
        check_origin(stored, origin)
        yield from _threads_notice(stored, origin)
        resumed = (stored, _last_good(folder, stored))
    checkpoints = Checkpoints(folder, origin, planned.plan)
    trainer = _trainer(loaded, folder, channel, checkpoints, planned, _card(loaded, made_of))
    yield from trainer.run(channel.commands, resumed)
    yield from table_notice(folder)
    before = stored.state.progress.elapsed_seconds if stored else 0.0
    best = trainer.progress.best
    yield TaskFinished(
        before + time.perf_counter() - started,
        trainer.stopped_early,
        {
            "base_accuracy": trainer.progress.base_accuracy,
            "accuracy": best.accuracy if best else None,
            "best_step": best.step if best else 0,
            "adapter": str(folder / ADAPTER_FOLDER) if best else None,
        },
    )


def _last_good(folder: Path, stored: Stored) -> RunState:
    """Where a rollback would go: a state that was saved while the loss was far up is not it."""
    if stored.state.progress.watch.is_calm or stored.folder.name == PREVIOUS:
        return stored.state
    try:
        return read_state(folder / CHECKPOINTS_FOLDER / PREVIOUS)[1]
    except DataError:
        return stored.state


def _threads_notice(stored: Stored, origin: Origin) -> Iterator[Event]:
    before = stored.card.origin.num_threads
    if before != origin.num_threads:
        yield Notice(
            "threads",
            f"The run was started with {before} threads and goes on with {origin.num_threads}: "
            "its last digits may differ from those of a run that was never stopped.",
            f"`training.num_threads = {before}` in a new run fixes the number.",
        )


def table_notice(run: Path) -> Iterator[Event]:
    """Say why the cards of a run go without the table that is in its folder, where they do.

    Args:
        run (Path): The run's folder.
    """
    if omission := card_table_of(run).omission:
        yield Notice("no-table", omission)


def _config_hash(config: RunConfig) -> str:
    return hashlib.sha256(msgspec.json.encode(config)).hexdigest()


def _save_probes(folder: Path, data: DataSet) -> None:
    """Keep the rows that an export compares on, so that it needs no data file."""
    prompts = [row.prompt for row in (data.validation + data.train)[:NUM_PROBES]]
    write_atomically(folder / PROBES_FILE, msgspec.json.encode(prompts))


def _card(task: TrainingTask, made_of: ProvenanceNoted) -> PromptCard:
    return PromptCard(
        model=task.config.model.source,
        scheme=task.config.model.scheme,
        weights_hash=task.frozen.loaded.report.weights_hash,
        template=task.encoder.renderer.template,
        end_token_id=task.encoder.end_token_id,
        max_prompt_tokens=task.max_prompt_tokens,
        labels=task.data.labels,
        max_response_tokens=task.max_response_tokens,
        training=training_record(task.config, made_of, len(task.rows.train)),
    )


def _scored(card: PromptCard, progress: Progress, num_rows: int) -> PromptCard:
    """The card of the best prompt so far, whose score is of so many validation rows."""
    best, training = progress.best, card.training
    assert best is not None
    assert training is not None
    scored = msgspec.structs.replace(
        training,
        num_validation_rows=num_rows,
        step=best.step,
        accuracy=best.accuracy,
        macro_f1=best.macro_f1,
        base_accuracy=progress.base_accuracy,
    )
    return msgspec.structs.replace(card, step=best.step, accuracy=best.accuracy, training=scored)


def _trainer(
    task: TrainingTask,
    folder: Path,
    channel: Channel,
    checkpoints: Checkpoints,
    planned: Planned,
    card: PromptCard,
) -> Trainer:
    settings = task.config.training

    def say_progress(done: int, total: int) -> None:
        channel.progress(StageProgress("evaluate", done, total, "rows"))

    def save_prompt(prompt: Prompt, progress: Progress, num_rows: int) -> str:
        scored = _scored(card, progress, num_rows)
        save_adapter(folder / ADAPTER_FOLDER, task.frozen, prompt, scored)
        write_adapter_card(folder)
        return str(folder / ADAPTER_FOLDER)

    return Trainer(
        optimisation=task.optimisation(planned),
        validation=Validation(task.evaluator(), task.rows, settings, save_prompt, say_progress),
        settings=settings,
        save=checkpoints.save,
    )
