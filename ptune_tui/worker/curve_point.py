"""One point of a learning curve: a prompt trained on some of the rows, and its score."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ptune_tui.engine.plan import Planned
from ptune_tui.engine.run_state import Progress
from ptune_tui.engine.trainer import Trainer
from ptune_tui.engine.validation import TaskRows, Validation, validation_rows
from ptune_tui.events import (
    CheckpointSaved,
    Command,
    EvaluationDone,
    Event,
    SampleMade,
    StageFinished,
    StageProgress,
    StageStarted,
    StateSaved,
    Stop,
)
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.new_method import new_method
from ptune_tui.worker.training_task import TrainingTask

# Of a run, but not of a point: nothing is saved, and the stages are the curve's.
_UNSAID = (
    CheckpointSaved,
    EvaluationDone,
    SampleMade,
    StageFinished,
    StageStarted,
    StateSaved,
)


@dataclass
class CurveTrainer:
    """Trains prompts on parts of a task's rows and scores each on the same validation rows.

    Attributes:
        task: The model and all rows; its validation rows are those that are scored.
        planned: How the steps of every point are computed.
        channel: Where progress is said and commands come from.
        base_score: Without a prompt; known after `base`.
        score: Of the last point; None where it was stopped.
        num_steps: Of the last point.
    """

    task: TrainingTask
    planned: Planned
    channel: Channel
    base_score: float | None = None
    score: float | None = None
    num_steps: int = 0

    @classmethod
    def of(cls, task: TrainingTask, planned: Planned, channel: Channel) -> CurveTrainer:
        """The trainer of a task, with as many validation rows as its settings take.

        Args:
            task (TrainingTask): As it was loaded.
            planned (Planned): How steps are computed.
            channel (Channel): Where progress is said and commands come from.
        """
        rows, encoded = validation_rows(task.rows, task.config.training)
        scored = TaskRows(task.rows.train, rows, encoded)
        return cls(dataclasses.replace(task, rows=scored), planned, channel)

    @property
    def num_validation_rows(self) -> int:
        """Rows that every point is scored on."""
        return len(self.task.rows.validation)

    def base(self) -> Iterator[Event]:
        """Score the base."""
        progress = Progress()
        for event in self._validation(self.task).base(progress):
            if not isinstance(event, SampleMade):
                yield event
        self.base_score = progress.base_accuracy

    def train(self, numbers: list[int], seed: int) -> Iterator[Event]:
        """Train on some rows and score the prompt of the last step.

        The best of several validations would be the better the more there were, so there is one.

        Args:
            numbers (list[int]): Of the training rows.
            seed (int): Of the point's random choices.
        """
        part = self._part(numbers, seed)
        settings = part.config.training
        trainer = Trainer(
            optimisation=part.optimisation(self.planned),
            validation=self._validation(part),
            settings=settings,
            save=lambda _: Path(),
            progress=Progress(base_accuracy=self.base_score),
        )
        for event in trainer.run(self._commands):
            if not isinstance(event, _UNSAID):
                yield event
        best = trainer.progress.best
        self.score = None if trainer.is_discarded or best is None else best.accuracy
        self.num_steps = trainer.progress.step

    def _part(self, numbers: list[int], seed: int) -> TrainingTask:
        """The task of some of the rows, with a method at its start and the steps of all parts."""
        task = self.task
        steps = task.config.training.max_steps
        settings = msgspec.structs.replace(
            task.config.training,
            seed=seed,
            max_steps=steps,
            evaluate_every=steps,
            save_every=steps,
            early_stopping=0,
        )
        config = msgspec.structs.replace(task.config, training=settings)
        data = dataclasses.replace(task.data, train=[task.data.train[each] for each in numbers])
        train = [task.rows.train[each] for each in numbers]
        rows = TaskRows(train, task.rows.validation_rows, task.rows.validation)
        method = new_method(config, task.frozen, data, train).method
        return dataclasses.replace(task, config=config, data=data, rows=rows, method=method)

    def _validation(self, task: TrainingTask) -> Validation:
        def say_progress(done: int, total: int) -> None:
            self.channel.progress(StageProgress("evaluate", done, total, "rows"))

        def keep_nothing(*_: object) -> str:
            return ""

        settings = msgspec.structs.replace(
            task.config.training, max_validation_rows=self.num_validation_rows
        )
        return Validation(task.evaluator(), task.rows, settings, keep_nothing, say_progress)

    def _commands(self) -> list[Command]:
        """What was asked for; a stop leaves a half-trained point out."""
        asked = self.channel.commands()
        return [Stop(save=False) if isinstance(each, Stop) else each for each in asked]
