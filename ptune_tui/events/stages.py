"""Every task: its beginning, its stages, what it notes, and its end."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ptune_tui.errors import Category

PROTOCOL_VERSION = 1

Stage = Literal[
    "import",  # before the work itself: torch takes seconds
    "load",
    "tokenise",
    "probe",
    "train",
    "evaluate",
    "save",
    "build",
    "parity",
    "write",
    "prepare",
    "measure",
]


class TaskStarted(Struct, frozen=True, tag=True):
    """The worker is up: first event of every file."""

    time: float  # seconds since the epoch
    pid: int
    kind: Literal[
        "train",
        "find_rate",
        "learning_curve",
        "evaluate",
        "compare",
        "answer",
        "inspect",
        "export",
        "preview",
        "tokenizer",
        "bench_train",
        "bench_run",
    ]
    protocol: int = PROTOCOL_VERSION


class StageStarted(Struct, frozen=True, tag=True):
    """A stage of the work begins."""

    stage: Stage
    time: float  # seconds since the epoch
    detail: str = ""


class StageProgress(Struct, frozen=True, tag=True):
    """How far a stage is."""

    stage: Stage
    done: int
    total: int
    detail: str = ""


class StageFinished(Struct, frozen=True, tag=True):
    """A stage is over."""

    stage: Stage
    seconds: float
    detail: str = ""


class Notice(Struct, frozen=True, tag=True):
    """Something the user should know: a choice made, a fallback, a skipped row."""

    code: str
    message: str
    hint: str = ""


class TaskFinished(Struct, frozen=True, tag=True):
    """The work is done: last event of a good file."""

    seconds: float
    stopped_early: bool = False
    summary: dict[str, float | int | str | None] = {}


class TaskFailed(Struct, frozen=True, tag=True):
    """The work ended with an error: last event of a bad file."""

    category: Category
    message: str
    hint: str
    log_path: str


StageEvent = (
    TaskStarted | StageStarted | StageProgress | StageFinished | Notice | TaskFinished | TaskFailed
)
