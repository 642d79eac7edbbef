"""What a worker is asked to do: `task.json` in a folder, beside the `events.jsonl` of the answer.

python -P -m ptune_tui.worker FOLDER
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from ptune_tui.config import DataConfig, ModelConfig, RunConfig
from ptune_tui.paths import tasks_folder

TASK_FILE = "task.json"
EVENTS_FILE = "events.jsonl"
COMMANDS_FILE = "commands.jsonl"
LOG_FILE = "worker.log"
LOCK_FILE = "lock.json"
RESULT_FILE = "result.json"
KEPT_TASKS = 20

ExportPrecision = Literal["auto", "fast", "exact"]


class TrainTask(Struct, frozen=True, tag="train"):
    """Train a soft prompt; the folder is the run folder."""

    config: RunConfig


class EvaluateTask(Struct, frozen=True, tag="evaluate"):
    """Score a data file with a run's prompt in torch."""

    run: str
    data: str
    with_base: bool = False
    max_rows: int | None = None


class ExportTask(Struct, frozen=True, tag="export"):
    """Write the bundle of a run."""

    run: str
    destination: str
    prompt_name: str
    precision: ExportPrecision = "auto"
    overwrite: bool = False


class PreviewTask(Struct, frozen=True, tag="preview"):
    """Tokenise the first rows of a data set, with their label mask."""

    model: ModelConfig
    data: DataConfig
    num_rows: int = 8


Task = TrainTask | EvaluateTask | ExportTask | PreviewTask


_task_decoder: msgspec.json.Decoder[Task] = msgspec.json.Decoder(Task)


class Lock(Struct, frozen=True):
    """Which process works in a folder."""

    pid: int
    process_start: float  # seconds since the epoch, as psutil gives it


def write_task(folder: Path, task: Task) -> None:
    """Create a folder for a task and put the task in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TASK_FILE).write_bytes(msgspec.json.encode(task))


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
    for number in range(1, 1000):
        folder = parent / (f"{stamp}-{name}" if number == 1 else f"{stamp}-{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{parent}/{stamp}-{name}")


def new_task_folder(name: str) -> Path:
    """A folder for a short task; the oldest ones beyond the last few are removed."""
    parent = tasks_folder()
    folder = new_folder(parent, name)
    # The names begin with the time.
    for old in sorted(path for path in parent.iterdir() if path.is_dir())[:-KEPT_TASKS]:
        shutil.rmtree(old, ignore_errors=True)
    return folder
