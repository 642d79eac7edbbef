"""Runs that lie elsewhere than in the folder of all runs, remembered by their paths.

`known_runs.jsonl` under ptune's home holds one path a line, as JSON, so that any path is one line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ptune_tui.paths import known_runs_file, runs_folder
from ptune_tui.tasks import TASK_FILE, write_atomically


def remember_run(run: Path) -> None:
    """Note where a run lies; of one in the folder of all runs there is nothing to note.

    Runs whose folders are gone are forgotten at the same time. Any number of programs may do so.

    Args:
        run (Path): The run's folder.

    Raises:
        OSError: The index cannot be written.
    """
    path = run.absolute()
    if path.parent == runs_folder().absolute():
        return
    file = known_runs_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with _one_writer(file):
        known = [each for each in known_runs() if each != path]
        lines = [msgspec.json.encode(os.fspath(each)) + b"\n" for each in (*known, path)]
        write_atomically(file, b"".join(lines))


def known_runs() -> list[Path]:
    """The remembered runs that are still there, in the order in which they were noted."""
    try:
        lines = known_runs_file().read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [path for path in map(_path, lines) if path is not None and _is_run(path)]


def _path(line: bytes) -> Path | None:
    try:
        return Path(msgspec.json.decode(line, type=str))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # damaged: the others still count


def _is_run(path: Path) -> bool:
    try:
        return (path / TASK_FILE).is_file()
    except OSError:
        return False  # it may not be read any more


@contextmanager
def _one_writer(file: Path) -> Iterator[None]:
    """Wait until no other program writes a file; the lock goes with the program that holds it."""
    with file.with_suffix(".lock").open("ab") as lock:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
