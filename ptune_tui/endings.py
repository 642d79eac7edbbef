"""How a worker ended that could not say so itself, and what its folder holds of its work."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import msgspec

from ptune_tui.errors import EXIT_CODES, Category
from ptune_tui.events import (
    CheckpointSaved,
    Event,
    LineFollower,
    StateSaved,
    TaskFailed,
    decode_event,
)
from ptune_tui.hardware import free_disk_bytes
from ptune_tui.tasks import (
    CONFIG_FILE,
    EVENTS_FILE,
    LOG_FILE,
    FindRateTask,
    LearningCurveTask,
    Task,
    TrainTask,
    has_task,
    read_task,
)

FULL_DISK_BYTES = 1 << 20  # less room than this is none
_TRAINING = (TrainTask, FindRateTask, LearningCurveTask)
_LESS_MEMORY = "Where it was memory: fewer rows a step (`--batch-size`), or `--kernel stream`."
_MORE_MEMORY = "Where it was memory: end other programs, and try again."
_PROMPT = b'{"type":"CheckpointSaved"'
_STATE = b'{"type":"StateSaved"'


def saved_words(folder: Path) -> str:
    """What a training run has saved so far, and how to go on; empty where it is nothing.

    Args:
        folder (Path): The run folder.
    """
    prompt, state = b"", b""
    for line in LineFollower(folder / EVENTS_FILE).new_lines():
        prompt = line if line.startswith(_PROMPT) else prompt
        state = line if line.startswith(_STATE) else state
    words = []
    kept, last = _event(prompt), _event(state)
    if isinstance(kept, CheckpointSaved):
        words.append(f"The prompt of step {kept.step} is in {kept.path}.")
    if isinstance(last, StateSaved) and last.step > 0:
        command = shlex.join(["ptune", "train", "--resume", str(folder)])
        words.append(f"`{command}` goes on from step {last.step}.")
    return " ".join(words)


def left_words(folder: Path, task: Task | None) -> str:
    """What a training that was cut off has left, and what to do; empty for any other task.

    Args:
        folder (Path): The run folder.
        task (Task | None): What its worker was asked to do; None where that is not known.
    """
    if not isinstance(task, TrainTask):
        return ""
    if saved := saved_words(folder):
        return saved
    config = folder / CONFIG_FILE
    again = f" `{shlex.join(['ptune', 'train', str(config)])}` begins again."
    return f"Nothing was saved.{again if config.is_file() else ''}"


def ending_without_a_word(folder: Path, exit_code: int | None) -> TaskFailed:
    """The ending of a worker that is gone and has written none.

    Args:
        folder (Path): Its folder, which may be gone, too.
        exit_code (int | None): Negative for a signal; None where another program started it.
    """
    log_path = str(folder / LOG_FILE)
    if not (folder / EVENTS_FILE).is_file() and not has_task(folder):
        return gone_folder(folder, None)
    task = _task(folder)
    category, message, hint = _reason(folder, exit_code, task)
    return TaskFailed(category, message, f"{hint} {left_words(folder, task)}".strip(), log_path)


def gone_folder(folder: Path, pid: int | None) -> TaskFailed:
    """The ending of a task whose folder was deleted or moved.

    Args:
        folder (Path): Where it was.
        pid (int | None): Its worker, where that still works.
    """
    hint = "What was saved in it is where the folder is now, or gone with it."
    if pid is not None:
        hint += (
            f" Its worker (process {pid}) ends when it next saves; `kill {pid}`, or `s` in the "
            "app, ends it now."
        )
    return TaskFailed("resources", f"The folder {folder} was deleted or moved.", hint, "")


def _task(folder: Path) -> Task | None:
    """What the worker was asked to do; None where that is lost or damaged."""
    try:
        return read_task(folder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _reason(folder: Path, exit_code: int | None, task: Task | None) -> tuple[Category, str, str]:
    free = free_disk_bytes(folder)
    if free is not None and free < FULL_DISK_BYTES:
        return (
            "resources",
            "The disk is full: the worker ended and could not say more.",
            ("Free some space."),
        )
    if exit_code is None:
        return (
            "fault",
            "The worker ended without a word: it was killed, or the machine went down.",
            "",
        )
    if exit_code == -getattr(signal, "SIGKILL", 9):
        return (
            "resources",
            "The worker was killed: by somebody, or by the system, which ran out of memory.",
            _LESS_MEMORY if isinstance(task, _TRAINING) else _MORE_MEMORY,
        )
    if exit_code < 0:
        return "fault", f"The worker was ended by signal {-exit_code} ({_name(-exit_code)}).", ""
    kinds = {number: kind for kind, number in EXIT_CODES.items()}
    return (
        kinds.get(exit_code, "fault"),
        f"The worker ended without a word (exit code {exit_code}).",
        "The end of its log says why.",
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _event(line: bytes) -> Event | None:
    try:
        return decode_event(line) if line else None
    except msgspec.DecodeError:
        return None  # damaged
