"""Errors as OpenAI's API writes them: one JSON object with a sentence."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from starlette.responses import Response

from export.errors import ConstraintError, RowError

_log = logging.getLogger(__name__)
RETRY_SECONDS = 2
CLIENT_GONE = 499  # nobody reads it; the log says it, as nginx's does


class ErrorDetail(Struct, frozen=True):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(Struct, frozen=True):
    """The whole body of an error."""

    error: ErrorDetail


class Refusal(Exception):
    """A request that is not answered.

    Args:
        status (int): The HTTP status.
        message (str): What is wrong, with the value, and what to do about it.
        code (str | None): OpenAI's word for it, where there is one.
        param (str | None): The field of the request that it is about.
        headers (Mapping[str, str] | None): More headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = headers

    def body(self) -> bytes:
        """The error in JSON."""
        kinds = {401: "authentication_error"}
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = kinds.get(self.status, default)
        return msgspec.json.encode(
            ErrorBody(ErrorDetail(self.message, kind, self.param, self.code))
        )

    def response(self) -> Response:
        """The error as a response."""
        return Response(self.body(), self.status, self.headers, "application/json")


def queue_full(num_waiting: int) -> Refusal:
    """The refusal where too many requests wait already."""
    return Refusal(
        503,
        f"{num_waiting} requests wait already, which is all that this server keeps. Try again "
        "in a moment.",
        code="queue_full",
        headers={"retry-after": str(RETRY_SECONDS)},
    )


def shutting_down() -> Refusal:
    """The refusal of a server that is told to end."""
    return Refusal(503, "The server is shutting down.", code="shutting_down")


def fault() -> Refusal:
    """What a client is told of a fault of ours; the log has the rest."""
    return Refusal(500, "The server failed on this request; its log says where.")


def refusal_of(error: Exception) -> Refusal:
    """What a client is told of an error while its answer was made."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RowError):
        return Refusal(400, f"{error.message}. {error.hint}", code="context_length_exceeded")
    if isinstance(error, ConstraintError):
        return Refusal(400, error.message, param="response_format")
    _log.error("an answer failed", exc_info=error)
    return fault()
