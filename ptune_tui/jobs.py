"""The parent's side of a worker: start, follow, command, stop, and attach to one again.

A worker is a process in a session of its own that answers through files in its folder, so it
outlives the app, and any number of programs may follow it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from ptune_tui.endings import ending_without_a_word
from ptune_tui.errors import UsageError
from ptune_tui.events import (
    Command,
    Event,
    LineFollower,
    TaskFailed,
    TaskFinished,
    decode_event,
    encode_line,
)
from ptune_tui.locks import lock_is_held, process_of, read_lock, write_lock
from ptune_tui.paths import tasks_folder
from ptune_tui.tasks import (
    COMMANDS_FILE,
    EVENTS_FILE,
    LOG_FILE,
    Lock,
    Task,
    has_task,
    new_folder,
    write_task,
)

KILL_AFTER_SECONDS = 5.0
FRESH_SECONDS = 0.1  # for which an answer about another program's worker holds
NICENESS = 10  # of workers that an app follows
KEPT_TASKS = 20
TAIL_BYTES = 1 << 20  # enough for the last event of any file


class Job:
    """A worker process and the folder it works in; made by `start` and `attach`.

    Attributes:
        folder: Where its files are.
        pid: Its process number, or None where its lock is gone.
        num_undecodable_lines: Lines of the event file that this program does not understand.
    """

    def __init__(
        self,
        folder: Path,
        lock: Lock | None,
        process: subprocess.Popen[bytes] | None = None,
        first_byte: int = 0,
    ) -> None:
        self.folder = folder
        self.pid = lock.pid if lock else None
        self.num_undecodable_lines = 0
        self._lock = lock
        self._process = process
        self._was_alive, self._asked = True, float("-inf")
        self._first_byte = first_byte  # events before it are an earlier worker's
        # The worker may have written by now: what counts is what was there before it started.
        self._follower = LineFollower(folder / EVENTS_FILE, first_byte)

    @property
    def may_go_on(self) -> bool:
        """Whether more may come after an ending.

        A run that was attached to may have been resumed: the ending read so far is then an earlier
        worker's, and the present one has not spoken yet.
        """
        return self._process is None and self.is_alive()

    @property
    def log_path(self) -> Path:
        """Where the worker's own output goes."""
        return self.folder / LOG_FILE

    def is_alive(self) -> bool:
        """Whether the worker still runs."""
        if self._process is not None:
            return self._process.poll() is None
        now = time.monotonic()
        if self._was_alive and now - self._asked > FRESH_SECONDS:
            self._asked = now
            self._was_alive = self._lock is not None and process_of(self._lock) is not None
        return self._was_alive  # who is dead stays so

    def events(self) -> Iterator[Event]:
        """The events that were added since the last call."""
        for line in self._follower.new_lines():
            try:
                event = decode_event(line)
            except msgspec.DecodeError:
                self.num_undecodable_lines += 1
                continue
            yield event

    def final_event(self) -> TaskFinished | TaskFailed | None:
        """The event that ended the work; None while it goes on, or where it ended without one."""
        try:
            with (self.folder / EVENTS_FILE).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._first_byte, size - TAIL_BYTES))
                lines = file.read().splitlines()
            event = decode_event(lines[-1]) if lines else None
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return event if isinstance(event, TaskFinished | TaskFailed) else None

    def send(self, command: Command) -> None:
        """Tell the worker something; it looks after each step.

        Raises:
            FileNotFoundError: Its folder was deleted or moved; none is made for the command.
        """
        if not has_task(self.folder):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.folder))
        with (self.folder / COMMANDS_FILE).open("ab") as file:
            file.write(encode_line(command))

    def step_back(self) -> None:
        """Let the app go first on a machine that is busy with the work: keys are answered at once.

        What nobody else wants of the processor is the worker's all the same.
        """
        if self.pid is None or sys.platform == "win32" or not self.is_alive():
            return
        # All threads of the worker, which leads a group of its own; others' are left alone.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpriority(os.PRIO_PGRP, self.pid, NICENESS)

    def silent_ending(self) -> TaskFailed:
        """The ending of a worker that is gone and has written none."""
        exit_code = None if self._process is None else self._process.poll()
        return ending_without_a_word(self.folder, exit_code)

    def kill(self) -> None:
        """End the worker and all it started: ask, wait 5 seconds, then force it."""
        if self._lock is None or not self.is_alive():
            return
        children = _descendants(self._lock.pid)
        for force in (False, True):
            _signal_session(self._lock.pid, children, force)
            deadline = time.monotonic() + KILL_AFTER_SECONDS
            while self.is_alive() and time.monotonic() < deadline:
                time.sleep(0.05)


def new_task_folder(name: str) -> Path:
    """A folder for a short task; old ones that no worker is in are removed."""
    parent = tasks_folder()
    folder = new_folder(parent, name)
    # The names begin with the time.
    for old in sorted(path for path in parent.iterdir() if path.is_dir())[:-KEPT_TASKS]:
        if not lock_is_held(old):
            shutil.rmtree(old, ignore_errors=True)
    return folder


def start(folder: Path, task: Task) -> Job:
    """Write a task into a folder and start a worker on it.

    Args:
        folder (Path): Made where it does not exist.
        task (Task): What to do.

    Raises:
        UsageError: A living worker already works in the folder.
    """
    if lock_is_held(folder):
        raise UsageError(
            f"A worker (process {_holder(folder)}) already works in {folder}.",
            "Follow or stop that one, or take another folder.",
        )
    write_task(folder, task)
    (folder / COMMANDS_FILE).unlink(missing_ok=True)  # an earlier worker's
    events_file = folder / EVENTS_FILE
    first_byte = events_file.stat().st_size if events_file.exists() else 0
    process = _spawn(folder)
    try:
        # The worker writes the same lock; until it is up, nobody else may start here.
        lock = write_lock(folder, process.pid)
    except psutil.NoSuchProcess:
        lock = Lock(process.pid, 0.0)
    return Job(folder, lock, process, first_byte)


def attach(folder: Path) -> Job:
    """The job of a folder whose worker was started by another program, or earlier.

    Args:
        folder (Path): A run or task folder; its events are read from the first.

    Raises:
        UsageError: There is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "`ptune runs` lists the runs.")
    return Job(folder, read_lock(folder))


def follow(job: Job, poll_seconds: float = 0.1) -> Iterator[Event]:
    """The events of a job as they come, until it ends.

    A worker that ends without a last event gets one here: a `TaskFailed`.

    Args:
        job (Job): What to follow.
        poll_seconds (float): How long to wait between two looks.
    """
    has_ended = False
    while True:
        was_alive = job.is_alive()  # asked first, so that what it wrote last is read below
        for event in job.events():
            has_ended = isinstance(event, TaskFinished | TaskFailed)
            yield event
        if has_ended and not job.may_go_on:
            return
        if not was_alive:
            yield job.silent_ending()
            return
        time.sleep(poll_seconds)


def worker_command(folder: Path) -> list[str]:
    """The command line of a worker.

    `-P` keeps a user's own `export.py` in the working folder from shadowing the package.
    """
    return [sys.executable, "-P", "-m", "ptune_tui.worker", str(folder)]


def _spawn(folder: Path) -> subprocess.Popen[bytes]:
    creation_flags = 0
    if sys.platform == "win32":
        creation_flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    with (folder / LOG_FILE).open("ab") as log:
        return subprocess.Popen(
            worker_command(folder.absolute()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=creation_flags,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"},
        )


def _holder(folder: Path) -> int | str:
    lock = read_lock(folder)
    return lock.pid if lock else "unknown"


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal_session(pid: int, children: list[psutil.Process], force: bool) -> None:
    """Signal a worker and all it started.

    Windows has no signal that asks: there the processes are ended at once.
    """
    if sys.platform != "win32":
        # macOS answers "not permitted" for a group in which only zombies are left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL if force else signal.SIGTERM)
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        children = [*children, psutil.Process(pid)]
    for process in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
