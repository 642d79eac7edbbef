"""One line a request: status, path, model, tokens, seconds; never what was asked or answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Say = Callable[[str], None]
NOTE = "note"
"""Where an endpoint leaves what the line says besides, in the request's state."""
_LONGEST_PATH = 80


class RequestLog:
    """Says a line for every request, once it is over.

    Args:
        app (ASGIApp): What answers.
        say (Say): Where the lines go.
    """

    def __init__(self, app: ASGIApp, say: Say) -> None:
        self._app = app
        self._say = say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        started = time.perf_counter()
        status = 500  # unless a response begins

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # The raw path is percent-encoded, so a client cannot begin a line of its own with it.
            path = scope["raw_path"].decode("ascii")[:_LONGEST_PATH]
            parts = [f"{status} {scope['method']} {path}"]
            if note := scope["state"].get(NOTE):
                parts.append(note)
            parts.append(f"{time.perf_counter() - started:.2f} s")
            self._say("  ".join(parts))
