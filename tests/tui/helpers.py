"""Waiting for what an app does by itself, and looking at what it left."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from ptune_tui.events import decode_command
from ptune_tui.tasks import COMMANDS_FILE
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.screens.place import PlaceScreen


async def wait_for(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fails after 60 seconds."""
    deadline = time.monotonic() + 60
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


@asynccontextmanager
async def opened(app: PTuneApp, size: tuple[int, int]) -> AsyncIterator[Pilot[None]]:
    """The app with its first place shown: the first frame comes before it."""
    async with app.run_test(size=size) as pilot:
        await shown(pilot)
        yield pilot


async def shown(pilot: Pilot[None]) -> None:
    """Wait until the first place is shown."""
    app = pilot.app
    await wait_for(pilot, lambda: isinstance(app.screen, PlaceScreen) and app.screen.is_mounted)
    await pilot.pause()


async def settled(pilot: Pilot[None]) -> None:
    """Wait until the place has read what it shows."""
    await pilot.pause()
    await wait_for(pilot, lambda: all(worker.is_finished for worker in pilot.app.workers))
    await pilot.pause()
