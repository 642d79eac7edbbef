"""Who may ask: addresses, hosts and the key."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from ptune_tui.errors import UsageError
from ptune_tui.server.refusal import Refusal

OPEN_PATHS = frozenset({"/health"})


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        key: What every request has to bring; None for nothing.
        hosts: What the Host header may say; `*` is anything.
    """

    key: bytes | None
    hosts: tuple[str, ...]


def choose_access(host: str, address: str, key: str | None, *, is_open: bool) -> Access:
    """The access of a server at an address.

    On the loopback interface the Host header has to name it. A page in a browser can point a name
    of its own at 127.0.0.1, but it cannot change what the browser sends as the host.

    Args:
        host (str): What the user called the address.
        address (str): The address itself.
        key (str | None): The key.
        is_open (bool): Whether the user wants no key where others can reach the server.

    Raises:
        UsageError: Others could ask without a key, or the key cannot be one.
    """
    if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key != ""):
        raise UsageError(
            "The key is empty, or has spaces around it or characters besides ASCII.",
            "For example `PTUNE_SERVE_KEY=$(openssl rand -hex 16)`.",
        )
    encoded = key.encode() if key is not None else None
    if not ipaddress.ip_address(address).is_loopback:
        if encoded is None and not is_open:
            raise UsageError(
                f"Whoever reaches {host} could ask this server, and no key was given.",
                "Set PTUNE_SERVE_KEY, give `--key`, or say `--no-key` if that is meant.",
            )
        return Access(encoded, ("*",))
    named = f"[{host}]" if ":" in host else host
    return Access(encoded, tuple(dict.fromkeys(("localhost", "127.0.0.1", "[::1]", named))))


class KeyCheck:
    """Refuses requests without the key.

    Args:
        app (ASGIApp): What answers the others.
        key (bytes): The key.
    """

    def __init__(self, app: ASGIApp, key: bytes) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 401."""
        if scope["path"] in OPEN_PATHS or self._has_key(scope):
            await self._app(scope, receive, send)
            return
        refusal = Refusal(
            401,
            "This server needs its key: send `Authorization: Bearer KEY`.",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
        await refusal.response()(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        sent = next((value for name, value in headers if name == b"authorization"), b"")
        kind, _, key = sent.partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key)
