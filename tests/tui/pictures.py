"""What pictures of the app are made with: sizes, a clock, and ways to bring it into a state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from ptune_tui.tui.app import PTuneApp
from tests.tui import fakes
from tests.tui.helpers import settled, shown, wait_for

Compare = Callable[..., bool]
Prepare = Callable[[Pilot[None]], Awaitable[None]]

both_sizes = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


def clock() -> float:
    return fakes.START + 130


async def settle(pilot: Pilot[None]) -> None:
    """Wait until the setup has looked at the machine."""
    await shown(pilot)
    await pilot.pause(0.5)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def runs_after(*keys: str) -> Prepare:
    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await wait_for(pilot, lambda: pilot.app.screen.runs is not None)  # type: ignore[attr-defined]
        for key in keys:
            await pilot.press(key)
        pilot.app.clear_notifications()  # of a key that is not needed where it is wide
        await settled(pilot)

    return prepare


def page_after(*keys: str, words: str = "") -> Prepare:
    """Press keys in Setup, and wait until the details of a page say some words."""

    async def prepare(pilot: Pilot[None]) -> None:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)
        await pilot.pause(0.3)
        await settled(pilot)
        if words:
            text = pilot.app.screen.query_one("#choice-text", Static)
            await wait_for(pilot, lambda: words in str(text.render()))
            await pilot.pause()

    return prepare


def exporting(condition: Callable[[PTuneApp], object]) -> Prepare:
    """Start the export of the run that is shown, and wait."""

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PTuneApp)
        await shown(pilot)
        await wait_for(pilot, lambda: app.screen.check_action("start", ()))
        await pilot.press("f5")
        await wait_for(pilot, lambda: condition(app))
        await pilot.pause(0.6)

    return prepare


def comparing(*keys: str, until: Callable[[PTuneApp], object] = lambda _: True) -> Prepare:
    """Open the place Compare, press some keys, and wait."""

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PTuneApp)
        await shown(pilot)
        await wait_for(pilot, lambda: app.screen.check_action("start", ()))
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
        await wait_for(pilot, lambda: until(app))
        await pilot.pause(0.6)
        await settled(pilot)

    return prepare


def chat_after(*words: str) -> Prepare:
    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)

        def is_ready() -> bool:
            return pilot.app.screen.state == "ready"  # type: ignore[attr-defined]

        await wait_for(pilot, is_ready)
        for word in words:
            await pilot.press(*word, "enter")
            await wait_for(pilot, is_ready)
        await pilot.pause()

    return prepare
