"""Listening: one socket, one uvicorn server, and an orderly end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from ptune_tui.errors import ResourceError, UsageError
from ptune_tui.server.answering_thread import AnsweringThread
from ptune_tui.server.http_protocol import PatientProtocol

GRACE_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 5


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address; it listens as soon as the server starts.

    Args:
        host (str): A name or an address.
        port (int): 0 for any that is free.

    Raises:
        UsageError: There is no such host.
        ResourceError: The port is taken, or not ours to take.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(
            f"The host {host!r} cannot be found: {error}.", "For example `--host 127.0.0.1`."
        ) from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # Windows lets several programs share a port by this option.
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _not_bound(error, host, port) from None
    return listener


class WebServer(uvicorn.Server):
    """Serves an application until a signal ends it.

    Args:
        application (Starlette): What to serve.
        answering (AnsweringThread): What the application answers with; ends with it.
        at_start (Callable[[], None]): Called once requests are accepted.
        at_stop (Callable[[], None]): Called once no more are.
    """

    def __init__(
        self,
        application: Starlette,
        answering: AnsweringThread,
        at_start: Callable[[], None],
        at_stop: Callable[[], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                loop="asyncio",
                http=PatientProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=int(GRACE_SECONDS) + 5,
            )
        )
        self._answering = answering
        self._at_start = at_start
        self._at_stop = at_stop

    def serve_until_stopped(self, listener: socket.socket) -> None:
        """Serve until SIGINT or SIGTERM, and let the answer that is being made come to its end.

        Args:
            listener (socket.socket): A bound socket.
        """
        # uvicorn raises the signal that ended it once more; for a server, that is no error.
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            self.run(sockets=[listener])
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, before)
            self._answering.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept requests, and say so."""
        await super().startup(sockets)
        self._at_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and wait for the answer in the making, up to a limit."""
        self._answering.drain()
        self._at_stop()
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._answering.stop)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in order at the first signal, at once at the second interrupt."""
        super().handle_exit(sig, frame)
        if self.force_exit:
            self._answering.stop()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _not_bound(error: OSError, host: str, port: int) -> ResourceError:
    if error.errno == errno.EADDRINUSE:
        return ResourceError(
            f"Port {port} of {host} is in use.",
            "Take another with `--port`, or any free one with `--port 0`.",
        )
    return ResourceError(
        f"Port {port} of {host} cannot be taken: {error.strerror}.",
        "Ports below 1024 need rights of their own; `--host` has to be an address of this machine.",
    )
