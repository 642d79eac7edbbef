"""HTTP/1.1 that does not wait for ever: uvicorn's protocol with deadlines and a cap."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ptune_tui.server.refusal import RETRY_SECONDS, Refusal

MAX_CONNECTIONS = 128
HEADER_SECONDS = 10.0
BODY_SECONDS = 30.0
WRITE_SECONDS = 30.0


class PatientProtocol(H11Protocol):
    """A connection that ends if its client is too slow, or too many are open.

    uvicorn ends a connection that is idle after a request; this class adds the deadlines of the
    request itself, from its first byte on, and of a client that does not read its answer.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited: object = None
        self._write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or refuse one connection too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(
                Refusal(
                    503,
                    f"{MAX_CONNECTIONS} connections are open, which is all that this server keeps.",
                    headers={"retry-after": str(RETRY_SECONDS)},
                )
            )
            return
        self._set_deadline()

    def handle_events(self) -> None:
        """Read what came, and wait for the rest."""
        super().handle_events()
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        for timer in (self._deadline, self._write_deadline):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read; give it some time."""
        super().pause_writing()
        # Its connection is of no use any more, so nothing is sent in its goodbye.
        self._write_deadline = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads."""
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the form of every other error."""
        self._refuse(Refusal(400, msg))

    def _set_deadline(self) -> None:
        """One deadline for a request's headers and one for its body, from where each begins."""
        awaited = self.conn.their_state
        if awaited is self._awaited:
            return
        self._awaited = awaited
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        seconds = {h11.IDLE: HEADER_SECONDS, h11.SEND_BODY: BODY_SECONDS}.get(awaited)
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self._give_up, seconds)

    def _give_up(self, seconds: float) -> None:
        if not self.transport.is_closing():
            self._refuse(Refusal(408, f"The request did not arrive within {seconds:g} seconds."))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer without the application, as far as nothing was answered yet, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = refusal.body()
            headers = {
                "content-type": "application/json",
                "content-length": str(len(body)),
                "connection": "close",
                **(refusal.headers or {}),
            }
            for event in (
                h11.Response(
                    status_code=refusal.status,
                    headers=[(name.encode(), value.encode()) for name, value in headers.items()],
                ),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None and not self.cycle.response_complete:
            # The application must not write behind this.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
