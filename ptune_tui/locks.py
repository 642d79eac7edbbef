"""Which process works in a folder: `lock.json`, and whether that process still lives."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import psutil

from ptune_tui.tasks import LOCK_FILE, Lock, write_atomically

# The start time is derived from the boot time, which moves when the clock is set.
START_TOLERANCE_SECONDS = 2.0


def write_lock(folder: Path, pid: int | None = None) -> Lock:
    """Note that a process works in a folder.

    Args:
        folder (Path): An existing folder.
        pid (int | None): The process; None for this one.

    Raises:
        psutil.NoSuchProcess: The process is gone already.
    """
    pid = os.getpid() if pid is None else pid
    lock = Lock(pid, psutil.Process(pid).create_time())
    write_atomically(folder / LOCK_FILE, msgspec.json.encode(lock))
    return lock


def own_lock() -> Lock:
    """This process, as a lock names it."""
    return Lock(os.getpid(), psutil.Process().create_time())


def read_lock(folder: Path) -> Lock | None:
    """The lock of a folder; None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / LOCK_FILE).read_bytes(), type=Lock)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def remove_lock(folder: Path) -> None:
    """Take a folder's lock away; nothing happens where there is none."""
    (folder / LOCK_FILE).unlink(missing_ok=True)


def process_of(lock: Lock) -> psutil.Process | None:
    """The living process that a lock names.

    A process that was given the same number later is not that process, and a zombie is dead.
    """
    try:
        process = psutil.Process(lock.pid)
        age_difference = abs(process.create_time() - lock.process_start)
        if age_difference > START_TOLERANCE_SECONDS or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.Error:
        return None
    return process


def lock_is_held(folder: Path) -> bool:
    """Whether a living process works in a folder."""
    lock = read_lock(folder)
    return lock is not None and process_of(lock) is not None
