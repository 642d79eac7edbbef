"""Comparisons as the app shows them, folded from their events. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from ptune_tui.events import (
    EvaluationDone,
    Event,
    StageFinished,
    StageProgress,
    StageStarted,
    TextAnswered,
)
from ptune_tui.tui.progress import TaskProgress, progress_of


@dataclass
class LineProgress:
    """One line of a table that is being made, or another step of it.

    Attributes:
        title: As the worker says it.
        started: When, in seconds since the epoch.
        done: Rows so far.
        total: Of how many; 0 where it is not said.
        seconds: How long it took; None while it goes on.
        accuracy: Once it is known.
    """

    title: str
    started: float
    done: int = 0
    total: int = 0
    seconds: float | None = None
    accuracy: float | None = None


@dataclass
class TableState:
    """What is known of a table that is being made.

    Attributes:
        task: Stages, notices and ending.
        lines: What was begun, in order.
        is_cancelled: Whether it was told to end.
    """

    task: TaskProgress = field(default_factory=lambda: progress_of(()))
    lines: list[LineProgress] = field(default_factory=list)
    is_cancelled: bool = False

    def add(self, event: Event) -> None:
        """Take in one event."""
        self.task.add(event)
        match event:
            case StageStarted():
                is_scored = event.stage not in ("import", "load")
                title = event.detail if is_scored else f"{event.stage} {event.detail}"
                self.lines.append(LineProgress(title, event.time))
            case StageProgress() if self.lines:
                self.lines[-1].done, self.lines[-1].total = event.done, event.total
            case EvaluationDone() if self.lines:
                self.lines[-1].accuracy = event.accuracy
            case StageFinished() if self.lines:
                self.lines[-1].seconds = event.seconds
            case _:
                pass


@dataclass(eq=False)  # the same text may be asked twice
class AskedText:
    """A text, and what was answered so far.

    Attributes:
        text: What was asked.
        answers: In order.
    """

    text: str
    answers: list[TextAnswered] = field(default_factory=list)

    @property
    def is_answered(self) -> bool:
        """Whether all have answered."""
        return bool(self.answers) and self.answers[-1].is_last


@dataclass
class AnswersState:
    """Texts and their answers.

    Attributes:
        task: Stages, notices and ending.
        texts: By number, in order.
        is_cancelled: Whether the worker was told to end.
    """

    task: TaskProgress = field(default_factory=lambda: progress_of(()))
    texts: dict[int, AskedText] = field(default_factory=dict)
    is_cancelled: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is still to come."""
        return any(not asked.is_answered for asked in self.texts.values())

    def add(self, event: Event) -> None:
        """Take in one event."""
        self.task.add(event)
        if isinstance(event, TextAnswered) and event.number in self.texts:
            self.texts[event.number].answers.append(event)
