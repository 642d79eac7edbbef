"""Training: steps, validations, what was saved, and what went wrong."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class StepDone(Struct, frozen=True, tag=True):
    """One optimiser step."""

    step: int  # counted from 1
    max_steps: int
    loss: float
    learning_rate: float  # absolute
    gradient_norm: float  # before clipping
    tokens_per_second: float  # the rows' own tokens
    peak_memory_bytes: int
    elapsed_seconds: float  # since training began, evaluations included
    eta_seconds: float


class EvaluationDone(Struct, frozen=True, tag=True):
    """The validation rows were scored."""

    step: int  # 0: before training, with no soft prompt
    num_rows: int
    accuracy: float  # of labels, or exact match for free text
    macro_f1: float | None  # None for free text
    loss: float | None  # mean of the response tokens
    seconds: float
    tuned: bool  # whether the soft prompt took part
    is_best: bool = False
    contender: str = ""  # in `ptune eval`: the line of its table


class SampleMade(Struct, frozen=True, tag=True):
    """One row of an evaluation, to look at; the rows of a run are always the same ones."""

    step: int
    prompt: str
    expected: str
    answer: str

    @property
    def is_right(self) -> bool:
        """Whether the answer counts as right, as the accuracy counts it."""
        return self.answer.strip() == self.expected.strip()


class CheckpointSaved(Struct, frozen=True, tag=True):
    """The adapter was written."""

    step: int
    path: str
    accuracy: float
    is_best: bool


class StateSaved(Struct, frozen=True, tag=True):
    """Everything that an exact resume needs was written."""

    step: int
    path: str


class Resumed(Struct, frozen=True, tag=True):
    """The run goes on from a checkpoint; steps after it are done again, bit for bit."""

    step: int  # the last one that the checkpoint holds
    path: str


class Paused(Struct, frozen=True, tag=True):
    """Training waits, at this step, until it is told to go on or to stop."""

    step: int


class Continued(Struct, frozen=True, tag=True):
    """Training that was paused goes on."""

    step: int  # the last one that is done
    seconds: float  # how long it waited


class Diverged(Struct, frozen=True, tag=True):
    """Training went wrong at a step: not finite, or far from anything it had reached."""

    step: int
    what: Literal["loss", "gradient", "prompt"]
    reason: str = "is not finite"  # completes "the loss of step 3 ..."


class RolledBack(Struct, frozen=True, tag=True):
    """Training diverged and goes on from the last good state at a lower rate."""

    step: int  # where it diverged
    to_step: int
    learning_rate: float  # the new peak, absolute
    reason: str


TrainingEvent = (
    StepDone
    | EvaluationDone
    | SampleMade
    | CheckpointSaved
    | StateSaved
    | Resumed
    | Paused
    | Continued
    | Diverged
    | RolledBack
)
