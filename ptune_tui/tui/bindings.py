"""Every action of the app, once: its key, its words, and when it can be used.

Footer, help screen and command palette are made from this table, and a keymap names its ids. Only
keys that tmux, ssh and macOS let through: letters, digits, function keys, enter and escape.
"""

from __future__ import annotations

from textual.binding import Binding

from ptune_tui.tui.actions import app, chat, compare, export, pages, runs, setup, train
from ptune_tui.tui.actions.action import Place

ACTIONS = (
    *app.ACTIONS,
    *runs.ACTIONS,
    *setup.ACTIONS,
    *pages.ACTIONS,
    *train.ACTIONS,
    *compare.ACTIONS,
    *export.ACTIONS,
    *chat.ACTIONS,
)


def bindings_of(place: Place) -> list[Binding]:
    """The key bindings of a place.

    Args:
        place (Place): A place, or `app` for those that hold everywhere.
    """
    return [
        Binding(
            row.key,
            row.action,
            row.description,
            show=row.in_footer,
            id=row.id,
            tooltip=row.tooltip,
        )
        for row in ACTIONS
        if row.place == place
    ]
