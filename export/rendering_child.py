"""Renders chat templates in a process of its own, so that a hostile one harms only this process.

Run by `export.rendering` as a script: it reads and writes JSON, one object a line, and needs
nothing but Jinja. Jinja's sandbox keeps a template from Python; what it computes is bounded here,
its time by a watchdog that waits for no lock, its memory by the system where that can.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import json
import os
import signal
import sys
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

_MEMORY_BYTES = 512 << 20  # with Python and Jinja, which take 30 MB of them
_MOST_CHARACTERS = 1_000_000  # that a template may write around what it is given


def main(seconds: float) -> None:
    """Answer requests until their pipe is closed.

    Args:
        seconds (float): After which the process ends itself, and the rendering with it.
    """
    _limit_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asked; that closes the pipe
    _write(b"ready")  # what ends it from here on is a template
    with open(os.devnull, "w") as nowhere:
        for line in sys.stdin.buffer:
            request = json.loads(line)
            replies = []
            for given in request["given"]:
                faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
                replies.append(_reply(request["source"], given))
                faulthandler.cancel_dump_traceback_later()
            _write(json.dumps(replies).encode())


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _reply(source: str, given: dict[str, Any]) -> dict[str, str]:
    """The rendered text, or why there is none."""
    try:
        text = _compiled(source).render(given)
    except Exception as error:
        # A template can make any operation fail, so any exception can come of it.
        return {"error": _words(error)}
    if len(text) > _MOST_CHARACTERS + 2 * len(json.dumps(given)):
        return {"error": f"it writes {len(text):,} characters"}
    return {"text": text}


@functools.lru_cache(maxsize=8)
def _compiled(source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _raise_exception
    environment.filters["tojson"] = _to_json
    return environment.from_string(source)


def _words(error: Exception) -> str:
    """An error in a line, whatever the template put into it."""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(error)[:1000])
    name = [] if isinstance(error, TemplateError) else [type(error).__name__]
    words = " ".join(printable.split())[:300]
    return ": ".join([*name, words] if words else name)


def _limit_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    # macOS knows the limit and refuses to set it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _to_json(value: object, **_: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main(float(sys.argv[1]))
