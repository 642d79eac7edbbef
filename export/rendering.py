"""Asks a process of its own to render chat templates, for they come with other people's files."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from export.errors import TemplateError

_SECONDS = 5.0  # a real template takes less than a thousandth of it
_AT_ONCE = 64  # texts a line: the pipe's own time is shared
_CHILD = Path(__file__).with_name("rendering_child.py")
_HINT = 'Use a text template, for example `--template "{prompt}\\n"`.'

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

    def render(self, source: str, given: Sequence[Variables]) -> list[str | TemplateError]:
        """The texts of a template, or why there is none.

        It may be no Jinja, fail, not come to an end, or write or need too much.

        Args:
            source (str): Jinja.
            given (Sequence[Variables]): What it may read, for each text.
        """
        request = json.dumps({"source": source, "given": given}).encode() + b"\n"
        with self._lock:
            line = self._ask(request)
        if line:
            replies: list[dict[str, str]] = json.loads(line)
            return [_text_or_error(reply) for reply in replies]
        if len(given) > 1:  # one of them ended the child
            return [text for each in given for text in self.render(source, [each])]
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
        if self._child is None or self._child.poll() is not None:
            self._child = subprocess.Popen(
                # By its path: `-m` would import the packages around it.
                [sys.executable, "-P", str(_CHILD), str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        child = self._child
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


_shared = RenderingProcess()
atexit.register(_shared.close)


def render(source: str, given: Sequence[Variables]) -> list[str | TemplateError]:
    """The texts of a template, or why there is none, by the one child that this program has.

    Args:
        source (str): Jinja.
        given (Sequence[Variables]): What it may read, for each text.
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
