"""The worker's end of the files: events out, commands in."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path

import msgspec

from ptune_tui.errors import ResourceError
from ptune_tui.events import (
    Command,
    Event,
    LineFollower,
    StageProgress,
    TaskFailed,
    decode_command,
    encode_line,
)
from ptune_tui.tasks import COMMANDS_FILE, EVENTS_FILE

_log = logging.getLogger(__name__)
_PROGRESS_SECONDS = 0.2


class Channel:
    """Writes events into a folder's `events.jsonl` and reads its commands.

    Args:
        folder (Path): The task's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / EVENTS_FILE
        self._file = self._path.open("a+b")
        self._end_half_line()
        self._commands = LineFollower(folder / COMMANDS_FILE)
        self._last_progress = 0.0

    def _end_half_line(self) -> None:
        """End the line that an earlier worker was killed in, so that ours begins a new one."""
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def say(self, event: Event) -> None:
        """Write one event; whole lines only, at once.

        Raises:
            ResourceError: The file was deleted, so nobody hears it; work for nothing ends here.
        """
        if os.fstat(self._file.fileno()).st_nlink == 0 and not self._path.exists():
            raise ResourceError(f"The folder {self._folder} was deleted while it was worked in.")
        self._file.write(encode_line(event))
        self._file.flush()

    def say_if_possible(self, event: TaskFailed) -> None:
        """Write the last event of a failed task; on a full disk only the log has it."""
        with contextlib.suppress(OSError, ResourceError):
            self.say(event)

    def progress(self, event: StageProgress) -> None:
        """Write how far a stage is, at most five times a second, and its end in any case."""
        now = time.monotonic()
        if event.done == event.total or now - self._last_progress >= _PROGRESS_SECONDS:
            self._last_progress = now
            self.say(event)

    def commands(self) -> list[Command]:
        """The commands that came since the last call."""
        found = []
        for line in self._commands.new_lines():
            try:
                found.append(decode_command(line))
            except msgspec.DecodeError as error:
                _log.warning("a command that is none: %r (%s)", line, error)
        return found

    def close(self) -> None:
        """Close the event file."""
        with contextlib.suppress(OSError):
            self._file.close()
