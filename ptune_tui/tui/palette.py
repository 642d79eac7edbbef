"""The palette: every action of the table by its name, wherever one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from textual.app import SystemCommand

from ptune_tui.tui.actions.action import Action, place_of
from ptune_tui.tui.bindings import ACTIONS

if TYPE_CHECKING:
    from ptune_tui.tui.app import PTuneApp


def palette_commands(app: PTuneApp) -> Iterator[SystemCommand]:
    """A command for each row of the table.

    Args:
        app (PTuneApp): The app.
    """
    for row in ACTIONS:
        yield SystemCommand(row.title, row.tooltip, _runner(app, row))


def _runner(app: PTuneApp, row: Action) -> Callable[[], None]:
    """Goes to the action's place and does it; says what is missing where that cannot be."""

    async def run() -> None:
        if row.place not in ("app", getattr(app.screen, "PLACE", "")):
            app.action_show_place(place_of(row))
        target = app if row.place == "app" else app.screen
        if not await app.run_action(row.action, target):
            app.tell_needs([row])

    def start() -> None:
        app.call_later(run)

    return start
