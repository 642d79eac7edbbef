"""What is said to a person: always on stderr, so that stdout stays data."""

from __future__ import annotations

import sys

import typer


def say(text: str = "") -> None:
    """Say a sentence."""
    typer.echo(text, err=True)


class ProgressLine:
    """One line that is rewritten on a terminal; elsewhere a line now and then.

    Args:
        every_percent (int): How often a line is written where there is no terminal.

    Attributes:
        is_terminal: Whether there is one.
    """

    def __init__(self, every_percent: int = 25) -> None:
        self.is_terminal = sys.stderr.isatty()
        self._every = every_percent
        self._last = -1
        self._is_open = False

    def show(self, what: str, done: int, total: int) -> None:
        """Show how far something is."""
        percent = 100 * done // max(1, total)
        if self.is_terminal:
            sys.stderr.write(f"\r\x1b[2K  {what} {percent:3d} % ({done:,} of {total:,})")
            sys.stderr.flush()
            self._is_open = True
        elif percent // self._every != self._last:
            self._last = percent // self._every
            say(f"  {what} {percent} % ({done:,} of {total:,})")

    def update(self, text: str) -> None:
        """Show a text that the next one replaces; nothing where there is no terminal."""
        if self.is_terminal:
            sys.stderr.write(f"\r\x1b[2K  {text}")
            sys.stderr.flush()
            self._is_open = True

    def close(self) -> None:
        """Take the line away, so that the next text starts a line of its own."""
        if self._is_open:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
            self._is_open = False
        self._last = -1
