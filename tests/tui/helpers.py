"""Waiting for what an app does by itself, and looking at what it left."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from ptune_tui.events import decode_command
from ptune_tui.tasks import COMMANDS_FILE
from ptune_tui.tui.app import PTuneApp


async def wait_for(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fails after 30 seconds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await pilot.pause(0.02)


def run_folder(app: PTuneApp) -> Path:
    """Where the app's run lies."""
    assert app.session.run is not None
    return app.session.run.job.folder


def commands(app: PTuneApp) -> list[object]:
    """What the app told its run."""
    lines = (run_folder(app) / COMMANDS_FILE).read_bytes().splitlines()
    return [decode_command(line) for line in lines]
