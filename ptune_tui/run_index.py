"""Runs that lie elsewhere than in the folder of all runs, remembered by their paths.

`known_runs.jsonl` under ptune's home holds one path a line, as JSON, so that any path is one line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ptune_tui.paths import known_runs_file, runs_folder
from ptune_tui.tasks import TASK_FILE, write_atomically


def remember_run(run: Path) -> None:
    """Note where a run lies; of one in the folder of all runs there is nothing to note.

    Runs whose folders are gone are forgotten at the same time. Any number of programs may do so.

    Args:
        run (Path): The run's folder.

    Raises:
        OSError: The index cannot be read or written.
    """
    path = run_location(run)
    if path.parent == run_location(runs_folder()):
        return
    file = known_runs_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with _one_writer(file):
        known = [each for each in _remembered() if each != path and not _is_gone(each)]
        lines = [json.dumps(os.fspath(each)) + "\n" for each in (*known, path)]
        write_atomically(file, "".join(lines).encode())


def known_runs(on_unreadable: Callable[[str], None] = lambda _: None) -> list[Path]:
    """The remembered runs that are still there, in the order in which they were noted.

    Args:
        on_unreadable (Callable[[str], None]): Given a sentence where the index cannot be read; then
            there are none.
    """
    try:
        return [path for path in _remembered() if _is_run(path)]
    except OSError as error:
        on_unreadable(
            f"Runs elsewhere are not listed: {known_runs_file()} cannot be read: {error.strerror}."
        )
        return []


def run_location(run: Path) -> Path:
    """A path of a run that is the same whatever leads to it.

    Args:
        run (Path): Its folder, by any name.
    """
    return Path(os.path.realpath(run))


def _remembered() -> list[Path]:
    """Every remembered path once, whether or not there is a run.

    Raises:
        OSError: The index cannot be read.
    """
    try:
        lines = known_runs_file().read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = [path for path in map(_path, lines) if path is not None]
    return list(dict.fromkeys(found))


def _path(line: bytes) -> Path | None:
    try:
        text = json.loads(line)
        return run_location(Path(text)) if os.path.isabs(text) else None
    except (ValueError, TypeError, RecursionError):
        return None  # damaged: the others still count


def _is_run(path: Path) -> bool:
    try:
        return (path / TASK_FILE).is_file()
    except OSError:
        return False  # it may not be read any more


def _is_gone(path: Path) -> bool:
    """Whether a run was deleted; one on a disk that is not there now may come again."""
    try:
        return path.parent.is_dir() and not (path / TASK_FILE).is_file()
    except OSError:
        return False


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
