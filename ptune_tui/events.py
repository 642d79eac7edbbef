"""What a worker says and what it is told: typed, one JSON object a line.

`events.jsonl` in the run folder is the only channel out of a worker; the app, the command line and
any later program follow that file. JSON has no NaN and no infinity, so a loss that is not finite is
an event of its own (`Diverged`), never a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import msgspec
from msgspec import Struct

from ptune_tui.errors import Category

PROTOCOL_VERSION = 1

Stage = Literal[
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


class ModelReady(Struct, frozen=True, tag=True):
    """The frozen model is loaded."""

    name: str
    family: str
    num_layers: int
    hidden_size: int
    vocab_size: int
    num_parameters: int
    quantised_bytes: int
    relative_error: float | None  # of the quantised weights; None where the import is exact
    scheme: str
    kernel: str
    weights_hash: str
    num_threads: int


class DataReady(Struct, frozen=True, tag=True):
    """The rows are read, templated and tokenised."""

    num_train_rows: int
    num_validation_rows: int
    num_cut_rows: int  # rows whose prompt was cut from the left
    max_row_tokens: int
    mean_row_tokens: float
    labels: list[str] | None  # the closed set of responses, or None for free text
    template: str
    num_shared_tokens: int  # leading template tokens that every row shares


class DataFile(Struct, frozen=True):
    """A file that a run read its rows from."""

    role: Literal["train", "validation"]
    path: str
    sha256: str
    num_bytes: int


class ProvenanceNoted(Struct, frozen=True, tag=True):
    """What a run reads and computes on, so that another person can make it again.

    Attributes:
        files: Those of the rows that are files of this disk.
        rows_hash: sha256 of all rows in tokens: the same for the same rows in any file format.
        versions: Of Python and of the packages that compute, by name.
        system: The operating system.
        processor: The processor's name, where it says one.
        num_usable_cores: Logical cores that the worker may use.
        total_memory_bytes: Of the machine, or the container's limit.
        accelerator: The graphics card's name, where there is one.
    """

    files: list[DataFile]
    rows_hash: str
    versions: dict[str, str]
    system: str
    processor: str | None
    num_usable_cores: int | None
    total_memory_bytes: int | None
    accelerator: str | None


class PlanMade(Struct, frozen=True, tag=True):
    """How the steps will be computed, and why; every choice can be forced."""

    kernel: str
    device: str
    compute_type: str
    micro_batch_size: int
    checkpointing: bool
    bucket_width: int
    reasons: list[str]  # one sentence a choice
    seconds_per_step: float | None = None  # of the probe; None where nothing was probed
    probe_memory_bytes: int | None = None
    is_packed: bool = False  # rows lie end to end, so widths do not matter


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


class TextAnswered(Struct, frozen=True, tag=True):
    """One of those that are compared has answered a text, or could not."""

    number: int  # of the text, as in `AskText`
    title: str
    computed_by: str
    answer: str
    seconds: float
    probabilities: dict[str, float] = {}  # of each label, where all were scored
    error: str = ""  # why there is no answer
    is_last: bool = False  # of this text


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


class Notice(Struct, frozen=True, tag=True):
    """Something the user should know: a choice made, a fallback, a skipped row."""

    code: str
    message: str
    hint: str = ""


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


class RateTried(Struct, frozen=True, tag=True):
    """One step of the range test of learning rates."""

    learning_rate: float  # in units of the method, as `--learning-rate` takes it
    loss: float  # smoothed


class RateProposed(Struct, frozen=True, tag=True):
    """What the range test proposes."""

    learning_rate: float  # in units of the method
    reason: str


class CurvePointMeasured(Struct, frozen=True, tag=True):
    """One training set of a learning curve was trained on and scored."""

    num_rows: int
    seed: int
    score: float  # accuracy, or exact match of free text
    seconds: float
    num_done: int  # points, those of an earlier worker included
    num_points: int


class ParityMeasured(Struct, frozen=True, tag=True):
    """The exported graph beside torch, on the same weights."""

    precision: str
    relative_error: float  # largest logit difference over the largest logit
    kl_divergence: float  # mean over positions, nats
    top1_agreement: float  # share of positions
    identical_texts: int  # greedy continuations that are the same
    num_texts: int
    passed: bool


class ExportDone(Struct, frozen=True, tag=True):
    """The bundle is in place.

    Attributes:
        path: Its folder.
        num_bytes: Of all its files.
        precision: What it answers in.
        seconds_per_answer: What an answer takes in each precision, where that chose it.
    """

    path: str
    num_bytes: int
    precision: str = ""
    seconds_per_answer: dict[str, float] = {}


class PreviewRow(Struct, frozen=True):
    """One row as the trainer will see it.

    `pieces` are the tokens' texts; `in_loss` says for each whether the loss is taken on it; `line`
    is where it begins in its file, 0 where that was not said.
    """

    pieces: list[str]
    in_loss: list[bool]
    was_cut: bool
    line: int = 0


class PreviewMade(Struct, frozen=True, tag=True):
    """The first rows, tokenised, with their label mask, and what is known of all of them.

    `template` is the one that was used, whoever chose it; `labels` is None for free text.
    """

    rows: list[PreviewRow]
    template: str = ""
    about: list[str] = []
    num_train_rows: int = 0
    num_validation_rows: int = 0
    labels: list[str] | None = None


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


Event = (
    TaskStarted
    | StageStarted
    | StageProgress
    | StageFinished
    | ModelReady
    | DataReady
    | ProvenanceNoted
    | PlanMade
    | StepDone
    | EvaluationDone
    | SampleMade
    | TextAnswered
    | CheckpointSaved
    | StateSaved
    | Resumed
    | Paused
    | Continued
    | Notice
    | Diverged
    | RolledBack
    | RateTried
    | RateProposed
    | CurvePointMeasured
    | ParityMeasured
    | ExportDone
    | PreviewMade
    | TaskFinished
    | TaskFailed
)


class Stop(Struct, frozen=True, tag=True):
    """Stop after the current step; `save` keeps the best prompt so far."""

    save: bool


class EvaluateNow(Struct, frozen=True, tag=True):
    """Score the validation rows after the current step."""


class Pause(Struct, frozen=True, tag=True):
    """Wait after the current step; nothing is lost, and memory stays taken."""


class Continue(Struct, frozen=True, tag=True):
    """Go on after a pause."""


class AskText(Struct, frozen=True, tag=True):
    """Answer a text."""

    number: int  # repeated in the answers
    text: str


Command = Stop | EvaluateNow | Pause | Continue | AskText

_encoder = msgspec.json.Encoder()
_event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_command_decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


def encode_line(item: Event | Command) -> bytes:
    """One event or command as a JSON line, newline included."""
    return _encoder.encode(item) + b"\n"


def decode_event(line: bytes) -> Event:
    """The event of one line.

    Raises:
        msgspec.DecodeError: The line is not an event of this protocol.
    """
    try:
        return _event_decoder.decode(line)
    except UnicodeDecodeError as error:  # inside a string; no error of msgspec's own
        raise msgspec.DecodeError(str(error)) from None


def decode_command(line: bytes) -> Command:
    """The command of one line.

    Raises:
        msgspec.ValidationError: The line is not a command of this protocol.
    """
    return _command_decoder.decode(line)


class LineFollower:
    """Reads the whole lines that were added to a file since the last call.

    A half-written last line is left for the next call.

    Args:
        path (Path): The file; it need not be there yet.
        first_byte (int): Where its first line begins.
    """

    def __init__(self, path: Path, first_byte: int = 0) -> None:
        self.path = path
        self._offset = first_byte

    def new_lines(self) -> Iterator[bytes]:
        """The lines added since the last call, without their newline; none if there is no file."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                yield from self._whole_lines(file)
        except FileNotFoundError:
            return

    def _whole_lines(self, file: IO[bytes]) -> Iterator[bytes]:
        for line in file:
            if not line.endswith(b"\n"):
                return
            self._offset += len(line)
            yield line.rstrip(b"\n")
