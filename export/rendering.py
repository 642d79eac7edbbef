"""Asks a process of its own to render chat templates, for they come with other people's files."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from export.errors import RenderingError, TemplateError

_SECONDS = 5.0  # a real template takes less than a thousandth of it
_AT_ONCE = 64  # texts a line: the pipe's own time is shared
_MOST_ENDINGS = 2  # of the child by a template; each costs the seconds of a rendering
_CHILD = Path(__file__).with_name("rendering_child.py")
_HINT = 'Use a text template, for example `--template "{prompt}\\n"`.'
_NOT_STARTED = "The process that renders chat templates could not be started"
_START_HINT = "It needs memory, and Python with the package jinja2: install ptune again."

Variables = dict[str, str | bool | list[dict[str, str]]]


class RenderingProcess:
    """A child that renders one text after another; started when it is first needed.

    Args:
        seconds (float): The longest a rendering may take.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._num_endings: Counter[str] = Counter()

    def render(self, source: str, given: Sequence[Variables]) -> list[str | TemplateError]:
        """The texts of a template, or why there is none.

        It may be no Jinja, fail, not come to an end, or write or need too much. What ended the
        child twice is not asked again, whatever it is given.

        Args:
            source (str): Jinja.
            given (Sequence[Variables]): What it may read, for each text.

        Raises:
            RenderingError: The child cannot be started.
        """
        if self._num_endings[source] >= _MOST_ENDINGS:
            words = (
                f"The model's chat template {_MOST_ENDINGS} times did not come to an end within "
                f"{self._seconds:g} s, or needed too much memory; it is not asked again."
            )
            return [TemplateError(words, _HINT) for _ in given]
        request = json.dumps({"source": source, "given": given}).encode() + b"\n"
        with self._lock:
            line = self._ask(request)
        if line:
            replies: list[dict[str, str]] = json.loads(line)
            return [_text_or_error(reply) for reply in replies]
        if len(given) > 1:  # one of them ended the child
            return [text for each in given for text in self.render(source, [each])]
        self._num_endings[source] += 1
        words = (
            f"The model's chat template does not come to an end within {self._seconds:g} s, or "
            "needs too much memory."
        )
        return [TemplateError(words, _HINT)]

    def close(self) -> None:
        """End the child, if there is one."""
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()
            child.communicate()

    def _ask(self, request: bytes) -> bytes:
        """The child's line; none where it ended."""
        child = self._child
        if child is None or child.poll() is not None:
            child = self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        line = b""
        try:
            child.stdin.write(request)
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            pass
        finally:
            # Ended, or asked by somebody who was interrupted: its next line would be an old answer.
            if not line:
                self.close()
        return line

    def _start(self) -> subprocess.Popen[bytes]:
        """A child that is ready."""
        try:
            child = self._child = subprocess.Popen(
                # By its path: `-m` would import the packages around it.
                [sys.executable, "-P", str(_CHILD), str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise RenderingError(f"{_NOT_STARTED}: {error}", _START_HINT) from None
        assert child.stdout is not None
        is_ready = False
        try:
            is_ready = bool(child.stdout.readline())
            if not is_ready:
                child.wait()  # its own exit code, not that of being ended
        finally:
            if not is_ready:
                self.close()
        if not is_ready:
            raise RenderingError(f"{_NOT_STARTED} (exit code {child.returncode}).", _START_HINT)
        return child


_shared = RenderingProcess()
atexit.register(_shared.close)


def render(source: str, given: Sequence[Variables]) -> list[str | TemplateError]:
    """The texts of a template, or why there is none, by the one child that this program has.

    Args:
        source (str): Jinja.
        given (Sequence[Variables]): What it may read, for each text.

    Raises:
        RenderingError: The child cannot be started.
    """
    return [
        text
        for start in range(0, len(given), _AT_ONCE)
        for text in _shared.render(source, given[start : start + _AT_ONCE])
    ]


def _text_or_error(reply: dict[str, str]) -> str | TemplateError:
    if "error" in reply:
        return TemplateError(f"The model's chat template fails: {reply['error']}", _HINT)
    return reply["text"]
