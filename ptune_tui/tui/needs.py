"""What an action needs that cannot be done now, said once for a key that is held."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import inf

from textual.screen import Screen

from ptune_tui.tui.actions.action import Action
from ptune_tui.tui.bindings import ACTIONS

SECONDS_TOLD = 5.0  # that it stays on the screen


class Needs:
    """Remembers what was said a moment ago."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}  # when, by the action's id

    def words(self, row: Action, why_not: str = "") -> str:
        """What an action needs, as a sentence; empty where it still stands on the screen.

        Args:
            row (Action): A row of the table.
            why_not (str): What its place says of it, where it knows better.
        """
        if not row.needs or time.monotonic() - self._told.get(row.id, -inf) < SECONDS_TOLD:
            return ""
        self._told[row.id] = time.monotonic()
        return why_not or f"{row.description} cannot be done now: it needs {row.needs}."


def rows_that_need(screen: Screen[object], action: str) -> Iterator[Action]:
    """The rows of an action of a place: those that say what they need.

    Args:
        screen (Screen[object]): The place; no other screen has rows.
        action (str): Name of the method, without `action_`.
    """
    place = getattr(screen, "PLACE", "")
    for row in ACTIONS:
        # Escape is pressed to be sure that nothing is open: that is no question.
        if (row.place, row.action) == (place, action) and row.key != "escape":
            yield row
