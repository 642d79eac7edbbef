"""Compare: did it help? What one could have without the prompt, beside it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import Static

from ptune_tui.tui.screens.place import PlaceScreen

EMPTY = """\
Nothing to compare yet. A comparison takes a run that has ended, or a bundle.

2  set up a run and start it; Enter takes the defaults
3  watch it"""


class CompareScreen(PlaceScreen):
    """The comparison."""

    PLACE: ClassVar[str] = "compare"

    def compose_body(self) -> ComposeResult:
        """What shows while there is nothing to compare."""
        yield Static(EMPTY, classes="empty", markup=False)
