"""How far a task is: its stages, notices and ending, folded from its events. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ptune_tui.events import (
    Event,
    Notice,
    Stage,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)

TRAIN_STAGES: tuple[Stage, ...] = ("load", "tokenise", "probe", "evaluate", "train", "save")

# Notices of what was chosen, which every task has.
CHOICES = ("device", "kernel", "columns", "num-threads")

StageStatus = Literal["waiting", "running", "done", "failed", "left out"]


@dataclass
class StageState:
    """One stage of a task.

    Attributes:
        name: Which.
        status: Where it is.
        seconds: Of all its finished passes.
        started: When the running pass began, in seconds since the epoch.
        done: How much of `total` is done.
        total: 0 where the stage does not say.
        detail: What it is at.
        num_passes: How often it was finished.
        elapsed: Of the running pass, where its own events say so.
        is_paused: Whether it waits to be told to go on.
        inner_seconds: Of other stages within the running pass; they count for themselves.
        inner_started: When the one of them began that runs now.
    """

    name: Stage
    status: StageStatus = "waiting"
    seconds: float = 0.0
    started: float | None = None
    done: int = 0
    total: int = 0
    detail: str = ""
    num_passes: int = 0
    elapsed: float = 0.0
    is_paused: bool = False
    inner_seconds: float = 0.0
    inner_started: float | None = None

    def seconds_at(self, now: float) -> float:
        """Its own seconds, those of the running pass included."""
        if self.is_paused:
            return self.seconds + self.elapsed
        if self.status == "running" and self.started is not None:
            until = now if self.inner_started is None else self.inner_started
            return self.seconds + max(0.0, until - self.started - self.inner_seconds)
        return self.seconds


@dataclass
class TaskProgress:
    """What the events of a task say about the task itself.

    Attributes:
        stages: In the order in which they are shown.
        notices: What the user should know, one of each text.
        ending: The last event, once it is there.
        is_up: Whether the worker has said anything.
        pid: Of the worker that spoke last.
    """

    stages: dict[Stage, StageState]
    notices: list[Notice] = field(default_factory=list)
    ending: TaskFinished | TaskFailed | None = None
    is_up: bool = False
    pid: int | None = None

    @property
    def pinned(self) -> list[Notice]:
        """The notices that are more than a choice."""
        return [notice for notice in self.notices if notice.code not in CHOICES]

    @property
    def is_over(self) -> bool:
        """Whether the task has ended."""
        return self.ending is not None

    @property
    def failure(self) -> TaskFailed | None:
        """The error it ended with."""
        return self.ending if isinstance(self.ending, TaskFailed) else None

    def add(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case TaskStarted():
                self.begin_again()
                self.is_up, self.pid = True, event.pid
            case StageStarted():
                stage = self._stage(event.stage)
                stage.status, stage.started, stage.detail = "running", event.time, event.detail
                stage.done = stage.total = 0
                if (around := self._around(event.stage)) is not None:
                    around.inner_started = event.time
            case StageProgress():
                stage = self._stage(event.stage)
                stage.done, stage.total, stage.detail = event.done, event.total, event.detail
                stage.status = "running"
            case StageFinished():
                self._finish(event)
            case Notice():
                if event not in self.notices:
                    self.notices.append(event)
            case TaskFinished() | TaskFailed():
                self._end(event)
            case _:
                pass

    def begin_again(self) -> None:
        """Wait for a worker: what an earlier one did says nothing of what this one does."""
        self.stages = {name: StageState(name) for name in self.stages if name != "import"}
        self.ending, self.is_up = None, False

    def mark_done(self, name: Stage, detail: str) -> None:
        """Tick a stage that an event of its own stands for."""
        stage = self._stage(name)
        stage.status, stage.detail = "done", detail
        stage.num_passes += 1

    def drop_notices(self, code: str) -> None:
        """Take the notices of a code away, because another one says it."""
        self.notices = [notice for notice in self.notices if notice.code != code]

    def _stage(self, name: Stage) -> StageState:
        if name == "import":
            self.stages = {name: StageState(name), **self.stages}
        return self.stages.setdefault(name, StageState(name))

    def _around(self, name: Stage) -> StageState | None:
        """The training, of a stage that is a part of it."""
        train = self.stages.get("train") if name != "train" else None
        return train if train is not None and train.status == "running" else None

    def _finish(self, event: StageFinished) -> None:
        if event.stage == "import":
            self.stages.pop("import", None)  # of the room there is, the work has more need
            return
        if (around := self._around(event.stage)) is not None:
            around.inner_seconds += event.seconds
            around.inner_started = None
        stage = self._stage(event.stage)
        stage.seconds += max(0.0, event.seconds - stage.inner_seconds)
        stage.inner_seconds, stage.inner_started = 0.0, None
        stage.status, stage.started, stage.detail = "done", None, event.detail
        stage.done = stage.total = 0
        stage.elapsed = 0.0
        stage.num_passes += 1

    def _end(self, event: TaskFinished | TaskFailed) -> None:
        self.ending = event
        for stage in self.stages.values():
            stage.is_paused = False
            if stage.status == "running":
                stage.status = "failed" if isinstance(event, TaskFailed) else "done"
                stage.seconds, stage.started = stage.seconds + stage.elapsed, None
            elif stage.status == "waiting":
                stage.status = "left out"


def progress_of(stages: Iterable[Stage]) -> TaskProgress:
    """The progress of a task that has not begun.

    Args:
        stages (Iterable[Stage]): What it is known to go through; others are added as they come.
    """
    return TaskProgress({name: StageState(name) for name in stages})
