"""What a worker is asked to do: `task.json` in a folder, beside the `events.jsonl` of the answer.

python -P -m ptune_tui.worker FOLDER
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from ptune_tui.answering_speed import AnsweringSetting
from ptune_tui.config import DataConfig, ModelConfig, RunConfig
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.lineup import Lineup
from ptune_tui.reading import source
from ptune_tui.training_speed import BenchSetting

TASK_FILE = "task.json"
EVENTS_FILE = "events.jsonl"
COMMANDS_FILE = "commands.jsonl"
LOG_FILE = "worker.log"
LOCK_FILE = "lock.json"
RESULT_FILE = "result.json"
CONFIG_FILE = "config.toml"  # of a run
PROBES_FILE = "probes.json"  # of a run: texts on which exports are compared with torch
REPORT_FILE = "report.html"  # of a run
REPORT_MARK = "<!-- report of ptune -->"  # near its beginning
CHECKPOINTS_FOLDER = "checkpoints"  # of a run: what it can be resumed from
LAST, PREVIOUS = "last", "previous"  # its folders
STATE_FILES = ("state.safetensors", "state.json")  # of a checkpoint

ExportPrecision = Literal["auto", "fast", "exact", "throughput"]
ExportFormat = Literal["bundle", "onnx", "gguf", "transformers"]
FloatType = Literal["float32", "bfloat16"]


class Lock(Struct, frozen=True):
    """Which process works in a folder."""

    pid: int
    process_start: float  # seconds since the epoch, as psutil gives it


class TrainTask(Struct, frozen=True, tag="train"):
    """Train a soft prompt; the folder is the run folder."""

    config: RunConfig
    resume: bool = False  # go on from the folder's last checkpoint


class FindRateTask(Struct, frozen=True, tag="find_rate"):
    """Try rising learning rates on a prompt that is thrown away; changes no run."""

    config: RunConfig
    num_steps: int = 80


class LearningCurveTask(Struct, frozen=True, tag="learning_curve"):
    """Train on more and more rows and score each prompt; the result is `learning_curve.json`."""

    config: RunConfig
    sizes: list[int]  # rows, in rising order
    command: str  # that makes it again, for the result
    num_seeds: int = 1  # orders of the rows, from `config.training.seed` on
    run: str | None = None  # a run folder that gets a copy of the result, for its report
    resume: bool = False  # sizes that are in the folder's result are not trained again


class EvaluateTask(Struct, frozen=True, tag="evaluate"):
    """Score a data file with a run's prompt in torch, and with what stands beside it."""

    run: str
    data: str | None  # None: the run's validation rows
    contenders: tuple[ContenderKey, ...] = ("tuned",)
    max_rows: int | None = None
    prompt_field: str | None = None  # None: as in training
    response_field: str | None = None
    force: bool = False  # on other weights than it was trained on
    instruction: str | None = None  # None: proposed from the labels
    num_examples: int | None = None  # of few-shot; None: by the number of labels
    seed: int = 0  # of the examples, and of LoRA
    train: str | None = None  # rows for examples and LoRA; None: those of training
    with_probabilities: bool | None = None  # score every label; None: where they are few
    with_forgetting: bool = False
    lora_seconds: float | None = None  # None: as long as the run trained
    is_named: bool = True  # false: a contender that cannot be had is left out, with a note


class CompareTask(Struct, frozen=True, tag="compare"):
    """Make the table of a lineup: `evaluation.json` in the folder, and kept with the run."""

    lineup: Lineup
    data: str | None  # None: the run's validation rows
    command: str  # that makes it again, for the result
    max_rows: int | None = None


class AnswerTask(Struct, frozen=True, tag="answer"):
    """Answer texts with a lineup as they are asked, until it is stopped or its owner is gone."""

    lineup: Lineup
    owner: Lock


class InspectTask(Struct, frozen=True, tag="inspect"):
    """Look at a trained prompt: neighbours, norms, attention, and what its parts are worth."""

    target: str  # a run, the folder of a PEFT adapter, or a bundle
    command: str  # that makes it again, for the result
    model: str | None = None  # of an adapter or a bundle; None: the one it names
    data: str | None = None  # None: a run's validation rows
    template: str | None = None  # of an adapter that another program wrote
    prompt_field: str | None = None  # None: as in training
    response_field: str | None = None
    num_rows: int = 100
    num_nearest: int = 5
    force: bool = False  # on other weights than it was trained on
    prompt: str | None = None  # of a bundle; None where it has just one


class ExportTask(Struct, frozen=True, tag="export"):
    """Write a run as a bundle, add its prompt to one, or write a folder for another program."""

    run: str
    destination: str
    prompt_name: str
    precision: ExportPrecision = "auto"
    overwrite: bool = False
    force: bool = False  # on other weights than it was trained on
    is_addition: bool = False
    format: ExportFormat = "bundle"
    float_type: FloatType = "float32"  # of the weights of `transformers`
    owner: Lock | None = None  # the command that waits for it; None where an app began it


class PreviewTask(Struct, frozen=True, tag="preview"):
    """Tokenise the first rows of a data set, with their label mask."""

    model: ModelConfig
    data: DataConfig
    num_rows: int = 8


class TokenizerTask(Struct, frozen=True, tag="tokenizer"):
    """Write a model's tokenizer as a card that is read without transformers."""

    model: str  # a GGUF file or a folder
    name: str  # what to call it
    destination: str


class BenchTrainTask(Struct, frozen=True, tag="bench-train"):
    """Measure our training step beside PEFT's; the figures go to `result.json`."""

    setting: BenchSetting


class BenchRunTask(Struct, frozen=True, tag="bench-run"):
    """Measure answering beside other programs; the figures go to `result.json`."""

    setting: AnsweringSetting


Task = (
    TrainTask
    | FindRateTask
    | LearningCurveTask
    | EvaluateTask
    | CompareTask
    | AnswerTask
    | InspectTask
    | ExportTask
    | PreviewTask
    | TokenizerTask
    | BenchTrainTask
    | BenchRunTask
)


_task_decoder: msgspec.json.Decoder[Task] = msgspec.json.Decoder(Task)


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The same configuration for a worker, and for later commands, of any working folder."""

    def absolute(text: str | None) -> str | None:
        return str(Path(text).absolute()) if text and Path(text).exists() else text

    data, model, method = config.data, config.model, config.method
    return msgspec.structs.replace(
        config,
        model=msgspec.structs.replace(model, source=absolute(model.source)),
        data=msgspec.structs.replace(
            data,
            train=source.absolute(data.train),
            validation=data.validation and source.absolute(data.validation),
        ),
        method=msgspec.structs.replace(method, init_prompt=absolute(method.init_prompt)),
    )


def write_task(folder: Path, task: Task) -> None:
    """Create a folder for a task and put the task in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TASK_FILE).write_bytes(msgspec.json.encode(task))


def has_task(folder: Path) -> bool:
    """Whether a folder is that of a task: one that was deleted and made again by others is not.

    Args:
        folder (Path): Any folder.
    """
    return (folder / TASK_FILE).is_file()


def read_task(folder: Path) -> Task:
    """The task of a folder."""
    return _task_decoder.decode((folder / TASK_FILE).read_bytes())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it, so that no reader sees half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def new_folder(parent: Path, name: str) -> Path:
    """A folder that does not exist yet, named by the time and `name`."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = name.replace(":", "-")  # a data set's split; Windows takes no colon
    for number in range(1, 1000):
        folder = parent / (f"{stamp}-{name}" if number == 1 else f"{stamp}-{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{parent}/{stamp}-{name}")
