"""What the app does when its terminal goes away, or when it is asked to end from outside.

Runs and exports go on by themselves, whatever happens to the app. A terminal that is still there is
put back as it was; one that is gone takes no more output, and a write to it may never return.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable

TERMINAL_LOST = 128 + 1  # the exit code of the signal SIGHUP
GIVE_UP_SECONDS = 2.0  # for an orderly end without a terminal


class TerminalWatch:
    """Notices that the terminal is gone.

    Args:
        leave (Callable[[int], None]): Ends the app in order, with an exit code.

    Attributes:
        is_lost: Whether it is.
    """

    def __init__(self, leave: Callable[[int], None]) -> None:
        self._leave = leave
        self.is_lost = False
        self._is_leaving = False
        self._input = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
        self._is_watched = self._input >= 0 and os.isatty(self._input)

    def begin(self) -> None:
        """Take the signals that ask a program to end. Only where an event loop runs."""
        if sys.platform == "win32":
            return  # it has none of them
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end, 128 + signal.SIGTERM)
        loop.add_signal_handler(signal.SIGHUP, self._give_up)

    def look(self) -> None:
        """Leave where the terminal is gone and no signal said so, as under `nohup`."""
        if self._is_watched and not os.isatty(self._input):
            self._give_up()

    def _end(self, code: int) -> None:
        if not self._is_leaving:
            self._is_leaving = True
            self._leave(code)

    def _give_up(self) -> None:
        """Leave, and see to it that no write to the dead terminal holds the process."""
        if (
            not self.is_lost
        ):  # also while it leaves already, whose last writes are the ones that hang
            self.is_lost = True
            deadline = threading.Timer(GIVE_UP_SECONDS, os._exit, [TERMINAL_LOST])
            deadline.daemon = True
            deadline.start()
        self._end(TERMINAL_LOST)
