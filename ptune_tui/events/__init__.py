"""What a worker says and what it is told: typed, one JSON object a line.

`events.jsonl` in the run folder is the only channel out of a worker; the app, the command line and
any later program follow that file. JSON has no NaN and no infinity, so a loss that is not finite is
an event of its own (`Diverged`), never a number.
"""

from __future__ import annotations

from ptune_tui.events.commands import (
    AskText,
    Command,
    Continue,
    EvaluateNow,
    Pause,
    Stop,
)
from ptune_tui.events.inputs import (
    DataFile,
    DataReady,
    ModelReady,
    PlanMade,
    PreviewMade,
    PreviewRow,
    ProvenanceNoted,
)
from ptune_tui.events.lines import (
    Event,
    LineFollower,
    decode_command,
    decode_event,
    encode_line,
)
from ptune_tui.events.measured import (
    CurvePointMeasured,
    ExportDone,
    ParityMeasured,
    RateProposed,
    RateTried,
    TextAnswered,
)
from ptune_tui.events.stages import (
    PROTOCOL_VERSION,
    Notice,
    Stage,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
from ptune_tui.events.training import (
    CheckpointSaved,
    Continued,
    Diverged,
    EvaluationDone,
    Paused,
    Resumed,
    RolledBack,
    SampleMade,
    StateSaved,
    StepDone,
)

__all__ = [
    "PROTOCOL_VERSION",
    "AskText",
    "CheckpointSaved",
    "Command",
    "Continue",
    "Continued",
    "CurvePointMeasured",
    "DataFile",
    "DataReady",
    "Diverged",
    "EvaluateNow",
    "EvaluationDone",
    "Event",
    "ExportDone",
    "LineFollower",
    "ModelReady",
    "Notice",
    "ParityMeasured",
    "Pause",
    "Paused",
    "PlanMade",
    "PreviewMade",
    "PreviewRow",
    "ProvenanceNoted",
    "RateProposed",
    "RateTried",
    "Resumed",
    "RolledBack",
    "SampleMade",
    "Stage",
    "StageFinished",
    "StageProgress",
    "StageStarted",
    "StateSaved",
    "StepDone",
    "Stop",
    "TaskFailed",
    "TaskFinished",
    "TaskStarted",
    "TextAnswered",
    "decode_command",
    "decode_event",
    "encode_line",
]
