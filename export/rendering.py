"""Asks a process of its own to render chat templates, for they come with other people's files."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from pathlib import Path

from export.errors import TemplateError

_SECONDS = 5.0  # a real template takes less than a thousandth of it
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

    def render(self, source: str, variables: Variables) -> str:
        """The text of a template.

        Args:
            source (str): Jinja.
            variables (Variables): What it may read.

        Raises:
            TemplateError: It is no Jinja, fails, does not come to an end, or writes or needs too
                much.
        """
        request = json.dumps({"source": source, "variables": variables}).encode() + b"\n"
        with self._lock:
            line = self._ask(request)
        if not line:
            raise TemplateError(
                f"The model's chat template does not come to an end within {self._seconds:g} s, or "
                "needs too much memory.",
                _HINT,
            )
        reply: dict[str, str] = json.loads(line)
        if "error" in reply:
            raise TemplateError(f"The model's chat template fails: {reply['error']}", _HINT)
        return reply["text"]

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


def render(source: str, variables: Variables) -> str:
    """The text of a template, by the one child that this program has.

    Args:
        source (str): Jinja.
        variables (Variables): What it may read.

    Raises:
        TemplateError: As of `RenderingProcess.render`.
    """
    return _shared.render(source, variables)
