"""The paths, the guards in front of them, and what errors look like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from export.errors import ExportError
from ptune_tui.server.access import Access, KeyCheck
from ptune_tui.server.endpoints import Endpoints
from ptune_tui.server.refusal import CLIENT_GONE, Refusal, fault, refusal_of
from ptune_tui.server.request_log import RequestLog, Say

MAX_BODY_BYTES = 1024 * 1024


def make_application(endpoints: Endpoints, access: Access, say: Say) -> Starlette:
    """The application that a web server runs.

    Args:
        endpoints (Endpoints): What answers.
        access (Access): Who may ask.
        say (Say): Where the log's lines go.
    """
    guards = [
        Middleware(RequestLog, say),
        Middleware(TrustedHostMiddleware, list(access.hosts), www_redirect=False),
    ]
    if access.key is not None:
        guards.append(Middleware(KeyCheck, access.key))
    return Starlette(
        routes=[
            Route("/health", endpoints.health),
            Route("/v1/models", endpoints.models),
            Route("/v1/models/{name:path}", endpoints.model),
            Route("/v1/chat/completions", endpoints.chat, methods=["POST"]),
            Route("/v1/completions", endpoints.completions, methods=["POST"]),
        ],
        middleware=guards,
        exception_handlers=_HANDLERS,
        max_body_size=MAX_BODY_BYTES,
    )


async def _refused(_: Request, error: Exception) -> Response:
    return refusal_of(error).response()


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {
        404: f"There is nothing at {request.url.path!r}. The API is below `/v1`.",
        405: f"{request.url.path} does not take {request.method}.",
        413: f"The body is longer than {MAX_BODY_BYTES} bytes, which is all that is read.",
    }
    message = messages.get(error.status_code, HTTPStatus(error.status_code).phrase)
    return Refusal(error.status_code, message, headers=error.headers).response()


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _failed(_: Request, __: Exception) -> Response:
    return fault().response()


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    Refusal: _refused,
    ExportError: _refused,
    HTTPException: _not_routed,
    ClientDisconnect: _gone,
    Exception: _failed,
}
