"""What the lines of a run's `events.jsonl` add up to, without decoding the thousands between."""

from __future__ import annotations

import msgspec

from ptune_tui.events import (
    Continued,
    DataReady,
    EvaluationDone,
    Event,
    ModelReady,
    Paused,
    Resumed,
    RolledBack,
    StateSaved,
    StepDone,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    decode_event,
)
from ptune_tui.validations import Validations

_STEP = b'{"type":"StepDone"'
_NOT_NEEDED = (b'{"type":"StageProgress"', b'{"type":"SampleMade"')


class RunFold:
    """What the lines taken in so far add up to.

    Of the steps, most of a long file, only the last one before an ending or a start is decoded.

    Attributes:
        model: What the model was found to be.
        data: What the rows were found to be.
        started: When the first worker started, in seconds since the epoch.
        worker_started: When the last one did, where the run was resumed.
        seconds_before: Of the workers before that one.
        validations: The evaluations with the soft prompt.
        base: The evaluation without.
        ending: The last event, once it is there.
        is_paused: Whether it was told to wait, and not yet to go on.
        num_unreadable_lines: Damaged, or of a later protocol.
    """

    def __init__(self) -> None:
        self.model: ModelReady | None = None
        self.data: DataReady | None = None
        self.started: float | None = None
        self.worker_started: float | None = None
        self.seconds_before: float = 0.0
        self.validations = Validations()
        self.base: EvaluationDone | None = None
        self.ending: TaskFinished | TaskFailed | None = None
        self.is_paused = False
        self.num_unreadable_lines = 0
        self._step_line = b""  # the last one, not decoded yet
        self._last_step: StepDone | None = None

    @property
    def last_step(self) -> StepDone | None:
        """The last step."""
        if self._step_line:
            step = self._decoded(self._step_line)
            self._step_line = b""
            if isinstance(step, StepDone):
                self._last_step = step
        return self._last_step

    @property
    def best(self) -> EvaluationDone | None:
        """That of the prompt that was kept; of runs that do not mark it, the most accurate one."""
        if self.validations.best is not None:
            return self.validations.best
        return max(self.validations.tuned, key=lambda done: done.accuracy, default=None)

    def add_line(self, line: bytes) -> None:
        """Take in one line of the file."""
        if line.startswith(_STEP):
            self._step_line = line
        elif not line.startswith(_NOT_NEEDED):
            event = self._decoded(line)
            if event is not None:
                self._add(event)

    def _decoded(self, line: bytes) -> Event | None:
        try:
            return decode_event(line)
        except msgspec.DecodeError:
            self.num_unreadable_lines += 1
            return None

    def _add(self, event: Event) -> None:
        match event:
            case EvaluationDone(tuned=False):
                self.base = event
            case EvaluationDone() | StateSaved() | Resumed() | RolledBack():
                self.validations.add(event)
            case TaskStarted():
                self.ending = None  # a resumed run has not ended
                self.is_paused = False
                self.worker_started = event.time
                self.seconds_before = self.last_step.elapsed_seconds if self.last_step else 0.0
                self.started = event.time if self.started is None else self.started
            case Paused() | Continued():
                self.is_paused = isinstance(event, Paused)
            case ModelReady():
                self.model = event
            case DataReady():
                self.data = event
            case TaskFinished() | TaskFailed():
                self.ending = event
            case _:
                pass
