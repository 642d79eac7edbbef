"""The whole story of a run, folded from its `events.jsonl`; `runs.summarise` is the short one.

Steps that a resumed or rolled-back run did again are told once, as they went the last time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ptune_tui.events import (
    DataReady,
    Diverged,
    EvaluationDone,
    Event,
    LineFollower,
    ModelReady,
    Notice,
    PlanMade,
    ProvenanceNoted,
    Resumed,
    RolledBack,
    SampleMade,
    StageFinished,
    StateSaved,
    StepDone,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    decode_event,
)
from ptune_tui.tasks import EVENTS_FILE
from ptune_tui.validations import Validations

Trouble = Notice | Diverged | RolledBack | Resumed | TaskFailed


@dataclass
class RunHistory:
    """What happened in a run.

    Attributes:
        steps: The optimiser steps in order, each once.
        validations: Those with the prompt, and the best of them.
        base: Validations without it, in order.
        samples: Rows of the validations, to look at.
        said: What the user should know, in order.
        stage_seconds: Time of each kind of stage.
        started: When each worker came up, in seconds since the epoch.
        model: The frozen model.
        data: The rows.
        plan: How the steps were computed.
        provenance: Files, versions, machine; None in runs of versions that did not note them.
        ending: How it ended; None where it goes on or was killed.
        num_unreadable_lines: Damaged, or of a later protocol.
    """

    steps: list[StepDone] = field(default_factory=list)
    validations: Validations = field(default_factory=Validations)
    base: list[EvaluationDone] = field(default_factory=list)
    samples: list[SampleMade] = field(default_factory=list)
    said: list[Trouble] = field(default_factory=list)
    stage_seconds: dict[str, float] = field(default_factory=dict)
    started: list[float] = field(default_factory=list)
    model: ModelReady | None = None
    data: DataReady | None = None
    plan: PlanMade | None = None
    provenance: ProvenanceNoted | None = None
    ending: TaskFinished | TaskFailed | None = None
    num_unreadable_lines: int = 0

    @property
    def tuned(self) -> list[EvaluationDone]:
        """Validations with the prompt, in order."""
        return self.validations.tuned

    @property
    def best(self) -> EvaluationDone | None:
        """The validation of the prompt that was kept."""
        return self.validations.best

    def comparable_base(self) -> EvaluationDone | None:
        """The base on as many rows as the best prompt, where it was scored on them."""
        best = self.best
        wanted = (
            found for found in reversed(self.base) if best and found.num_rows == best.num_rows
        )
        return next(wanted, self.base[-1] if self.base else None)

    def add(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case StepDone():
                self.steps.append(event)
            case EvaluationDone(tuned=False):
                self.base.append(event)
            case EvaluationDone() | StateSaved():
                self.validations.add(event)
            case SampleMade():
                self.samples.append(event)
            case StageFinished():
                before = self.stage_seconds.get(event.stage, 0.0)
                self.stage_seconds[event.stage] = before + event.seconds
            case TaskStarted():
                self.started.append(event.time)
                self.ending = None  # a resumed run has not ended
            case ModelReady():
                self.model = event
            case DataReady():
                self.data = event
            case PlanMade():
                self.plan = event
            case ProvenanceNoted():
                self.provenance = event
            case TaskFinished():
                self.ending = event
            case _:
                self._add_trouble(event)

    def _add_trouble(self, event: Event) -> None:
        match event:
            case Resumed():
                self._go_back(event, event.step)
            case RolledBack():
                self._go_back(event, event.to_step)
            case TaskFailed():
                self.ending = event
                self.said.append(event)
            case Notice():
                if event not in self.said:
                    self.said.append(event)
            case Diverged():
                self.said.append(event)
            case _:
                pass

    def _go_back(self, event: Resumed | RolledBack, step: int) -> None:
        self.said.append(event)
        self.validations.add(event)
        self.steps = [done for done in self.steps if done.step <= step]
        self.samples = [made for made in self.samples if made.step <= step]


def read_history(run: Path) -> RunHistory:
    """The history of a run folder; empty where nothing has happened yet.

    Args:
        run (Path): Its folder.
    """
    history = RunHistory()
    for line in LineFollower(run / EVENTS_FILE).new_lines():
        try:
            history.add(decode_event(line))
        except msgspec.DecodeError:
            history.num_unreadable_lines += 1
    return history
