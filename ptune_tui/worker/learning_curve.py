"""The task that trains on more and more rows: one model, one plan, a fresh prompt a point.

The result is written after every point, and a resumed task trains the points that it lacks. Each
point has its own start and its own order, so it does not matter where a task was stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ptune_tui.curve_fit import fit_points
from ptune_tui.curve_verdict import verdict
from ptune_tui.engine.plan import Plan
from ptune_tui.errors import DataError
from ptune_tui.events import (
    CurvePointMeasured,
    Event,
    StageFinished,
    StageStarted,
    Stop,
    TaskFinished,
)
from ptune_tui.results import (
    LEARNING_CURVE_FILE,
    LearningCurve,
    LearningPoint,
    read_learning_curve,
    write_result,
)
from ptune_tui.subsets import nested_order
from ptune_tui.tasks import LearningCurveTask, write_atomically
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.curve_point import CurveTrainer
from ptune_tui.worker.training_task import TrainingTask, TrainingTaskStage

ORIGIN_FILE = "origin.json"


class CurveOrigin(msgspec.Struct, frozen=True):
    """What the points of a curve have in common.

    Attributes:
        plan: How their steps are computed.
        weights: sha256 of the frozen weights.
        rows: sha256 of all rows in tokens.
    """

    plan: Plan
    weights: str
    rows: str


def learning_curve(task: LearningCurveTask, folder: Path, channel: Channel) -> Iterator[Event]:
    """Train and score one prompt a size and seed.

    Args:
        task (LearningCurveTask): Sizes and settings.
        folder (Path): The task's folder.
        channel (Channel): Where progress is said and commands come from.

    Raises:
        DataError: Rows or weights are not those of the points that are there.
        UsageError: Training diverged.
    """
    started = time.perf_counter()
    origin_path = folder / ORIGIN_FILE
    origin = None
    if task.resume and origin_path.is_file():
        origin = msgspec.json.decode(origin_path.read_bytes(), type=CurveOrigin)
    stage = TrainingTaskStage(task.config, channel, origin.plan if origin else None)
    yield from stage.events()
    loaded = stage.task
    planned = loaded.planned(origin.plan if origin else None)
    yield planned.event
    found = CurveOrigin(planned.plan, loaded.frozen.loaded.report.weights_hash, loaded.rows_hash())
    if origin is not None and found != origin:
        what = "rows" if found.rows != origin.rows else "model's weights"
        raise DataError(
            f"The {what} are not those that the points in {folder} were measured with.",
            "Put them back as they were, or begin another curve.",
        )
    write_atomically(origin_path, msgspec.json.encode(found))
    before = read_learning_curve(folder) if origin is not None else None
    curve = _Curve(task, folder, loaded, CurveTrainer.of(loaded, planned, channel), channel)
    if before is not None:
        curve.points, curve.base_score = list(before.points), before.base_score
    yield from curve.events()
    yield TaskFinished(time.perf_counter() - started, curve.is_stopped)


@dataclass
class _Curve:
    """The points of a task in the making."""

    task: LearningCurveTask
    folder: Path
    loaded: TrainingTask
    trainer: CurveTrainer
    channel: Channel
    points: list[LearningPoint] = field(default_factory=list)
    base_score: float | None = None
    is_stopped: bool = False

    def events(self) -> Iterator[Event]:
        """Measure what is missing, seed by seed, the smallest training set first."""
        if self.base_score is None:
            yield from self.trainer.base()
            self.base_score = self.trainer.base_score
        self.trainer.base_score = self.base_score
        first = self.task.config.training.seed
        measured = {(point.num_rows, point.seed) for point in self.points}
        for seed in range(first, first + self.task.num_seeds):
            order = nested_order(self.loaded.data.train, self.loaded.data.labels, seed)
            for size in self.task.sizes:
                if (size, seed) not in measured:
                    yield from self._point(order[:size], seed)
                if self.is_stopped:
                    return

    def _point(self, numbers: list[int], seed: int) -> Iterator[Event]:
        num_points = len(self.task.sizes) * self.task.num_seeds
        where = f"{len(numbers)} rows, {len(self.points) + 1} of {num_points}"
        yield StageStarted("train", time.time(), where)
        started = time.perf_counter()
        yield from self.trainer.train(numbers, seed)
        seconds = time.perf_counter() - started
        yield StageFinished("train", seconds)
        score = self.trainer.score
        if score is None:
            self.is_stopped = True
            return
        num_steps = self.trainer.num_steps
        self.points.append(LearningPoint(len(numbers), seed, score, seconds, num_steps))
        self._write()
        self.is_stopped = any(isinstance(each, Stop) for each in self.channel.commands())
        yield CurvePointMeasured(len(numbers), seed, score, seconds, len(self.points), num_points)

    def _write(self) -> None:
        num_validation_rows = self.trainer.num_validation_rows
        fit = fit_points(self.points, num_validation_rows)
        curve = LearningCurve(
            metric="exact_match" if self.loaded.data.labels is None else "accuracy",
            num_validation_rows=num_validation_rows,
            points=self.points,
            fit=fit,
            verdict=verdict(self.points, fit),
            command=self.task.command,
            base_score=self.base_score,
            sizes=self.task.sizes,
            num_seeds=self.task.num_seeds,
        )
        write_result(self.folder / LEARNING_CURVE_FILE, curve)
        if self.task.run is not None:
            write_result(Path(self.task.run) / LEARNING_CURVE_FILE, curve)
