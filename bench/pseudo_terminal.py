"""A program in a pseudo-terminal: its screen as text, keys sent to it, its size changed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "tab": "\t",
    "f5": "\x1b[15~",
}
_ASKS_SYNC, _KNOWS_SYNC = b"\x1b[?2026$p", b"\x1b[?2026;1$y"


class PseudoTerminal:
    """A terminal and the program in it, the leader of a session of its own.

    Args:
        command (Sequence[str]): The program.
        environment (Mapping[str, str]): On top of this process's.
        size (tuple[int, int]): Columns and rows.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        size: tuple[int, int] = (80, 24),
    ) -> None:
        self.parent, self.child = pty.openpty()
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self._undrawn = b""
        self._set_size(size)
        self.attributes = termios.tcgetattr(self.child)
        self.process = subprocess.Popen(
            command,
            stdin=self.child,
            stdout=self.child,
            stderr=self.child,
            env={**_without_size(os.environ), "TERM": "xterm-256color", **environment},
            preexec_fn=_take_terminal,
        )

    def resize(self, size: tuple[int, int]) -> None:
        """Change its size, as dragging a window does."""
        self.screen.resize(size[1], size[0])
        self._set_size(size)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def press(self, *keys: str) -> None:
        """Send keys by their names, or texts as they are."""
        for key in keys:
            os.write(self.parent, KEYS.get(key, key).encode())

    def read(self, seconds: float, *, draws: bool = True) -> bytes:
        """Take in what comes within a time; returns at the first piece.

        Args:
            seconds (float): How long to wait.
            draws (bool): Whether `screen` is drawn; what is not is drawn with the next that is.
        """
        if not select.select([self.parent], [], [], seconds)[0]:
            return b""
        try:
            piece = os.read(self.parent, 1 << 16)
        except OSError:  # the program has gone, and its end is closed
            time.sleep(min(seconds, 0.05))
            return b""
        if _ASKS_SYNC in piece:
            os.write(self.parent, _KNOWS_SYNC)  # a frame is then bracketed
        self.written += piece
        self._undrawn += piece
        if draws:
            self._stream.feed(_without_private_modes(self._undrawn))
            self._undrawn = b""
        return piece

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait_for(self, condition: str | Callable[[], object], seconds: float = 120.0) -> None:
        """Read until a text stands on the screen, or something holds.

        Raises:
            TimeoutError: It does not.
        """
        deadline = time.monotonic() + seconds
        while not (condition in self.text if isinstance(condition, str) else condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{condition!r} after {seconds} s:\n{self.text}")
            self.read(0.05)

    def wait_for_end(self, seconds: float = 60.0) -> int:
        """Read until the program ends; returns its exit code."""
        self.wait_for(lambda: self.process.poll() is not None, seconds)
        while self.read(0.1):
            pass
        return int(self.process.returncode)

    @property
    def is_sane(self) -> bool:
        """Whether the terminal is as it was: line mode, echo, main screen, cursor, no mouse."""
        modes = {b"?1049": b"hl", b"?25": b"lh", b"?1003": b"hl", b"?2004": b"hl"}  # on, off
        is_back = all(
            self.written.rfind(b"\x1b[" + mode + letters[1:])
            > self.written.rfind(b"\x1b[" + mode + letters[:1])
            for mode, letters in modes.items()
        )
        return is_back and termios.tcgetattr(self.child) == self.attributes

    def hang_up(self) -> None:
        """Take the terminal away, as closing its window does."""
        os.close(self.child)
        os.close(self.parent)

    def close(self) -> None:
        """End the program and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for end in (self.parent, self.child):
            try:
                os.close(end)
            except OSError:
                continue  # hung up already

    def _set_size(self, size: tuple[int, int]) -> None:
        fcntl.ioctl(self.child, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))


def _without_size(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables without those that stand for a terminal's size, whatever size it has."""
    return {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}


def _take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _without_private_modes(piece: bytes) -> bytes:
    """Without the keyboard protocol's sequences, which pyte would print."""
    for sequence in (b"\x1b[>25u", b"\x1b[<u", _ASKS_SYNC, b"\x1b[?2048$p"):
        piece = piece.replace(sequence, b"")
    return piece.replace(b"\x1b[?1049l", b"\x1b[2J\x1b[H")  # it knows no second screen
