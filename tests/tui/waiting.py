"""Waiting for what an app does by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.pilot import Pilot


async def wait_for(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fails after 15 seconds."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        await pilot.pause(0.02)
