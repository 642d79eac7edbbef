"""The task that tries rising learning rates; writes no run."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ptune_tui.engine.optimisation import RowOrder
from ptune_tui.engine.rate_finder import RateFinder
from ptune_tui.events import Event, RateProposed, StageFinished, StageStarted, TaskFinished
from ptune_tui.tasks import FindRateTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.training_task import TrainingTaskStage


def find_rate(task: FindRateTask, channel: Channel) -> Iterator[Event]:
    """Try rising rates on the run that a configuration describes.

    Args:
        task (FindRateTask): The configuration, and how many rates to try.
        channel (Channel): Where progress is said and commands come from.
    """
    started = time.perf_counter()
    settings = task.config.training
    stage = TrainingTaskStage(task.config, channel)
    yield from stage.events()
    planned = stage.task.planned()
    yield planned.event
    optimisation = stage.task.optimisation(planned)
    order = RowOrder(optimisation.rows, settings.batch_size, settings.seed)
    yield StageStarted("train", time.time(), f"{task.num_steps} rising rates")
    trying = time.perf_counter()
    rate = None
    for event in RateFinder(optimisation, order, task.num_steps).run():
        rate = event.learning_rate if isinstance(event, RateProposed) else None
        yield event
    yield StageFinished("train", time.perf_counter() - trying)
    yield TaskFinished(time.perf_counter() - started, False, {"learning_rate": rate})
