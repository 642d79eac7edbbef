"""Signals that ask a command to end: each counts as Ctrl-C."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

_ECHO_SECONDS = 1.0


class Interrupts:
    """Within its block the signals raise `KeyboardInterrupt`; while they are held, they wait.

    They are held at first. One that is ignored, as `nohup` and shells have it, stays ignored.

    Args:
        outlives_terminal (bool): Whether the work goes on when its terminal is closed.
    """

    def __init__(self, *, outlives_terminal: bool) -> None:
        names = ["SIGINT", "SIGTERM"] if outlives_terminal else ["SIGINT", "SIGTERM", "SIGHUP"]
        # Windows knows no SIGHUP.
        self._numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        self._before: dict[int, Any] = {}
        self._is_held, self._is_waiting = True, False
        self._last = float("-inf")

    def __enter__(self) -> Interrupts:
        for number in self._numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hold(self) -> None:
        """Let signals wait."""
        self._is_held = True

    def release(self) -> None:
        """Let them interrupt from now on.

        Raises:
            KeyboardInterrupt: One was waiting.
        """
        self._is_held = False
        if self._is_waiting:
            self._is_waiting = False
            raise KeyboardInterrupt

    def _take(self, number: int, _: FrameType | None) -> None:
        # `timeout` and a closing terminal send theirs twice; only a person means the second one.
        is_echo = number != signal.SIGINT and time.monotonic() - self._last < _ECHO_SECONDS
        self._last = time.monotonic()
        if is_echo:
            return
        if self._is_held:
            self._is_waiting = True
            return
        raise KeyboardInterrupt
