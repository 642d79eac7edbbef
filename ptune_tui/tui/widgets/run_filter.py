"""The line above the table of runs in which a filter is written."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static

from ptune_tui.tui.widgets.steady import Steady


class RunFilter(Horizontal):
    """Words that must stand in a row, and how many rows they leave; hidden until asked for."""

    def __init__(self) -> None:
        super().__init__(id="filter-line")

    def compose(self) -> ComposeResult:
        """Label, input, count."""
        box = Input(placeholder="words that stand in any column", id="filter", compact=True)
        box.cursor_blink = False
        yield Static("filter", id="filter-label")
        yield box
        yield Steady("", id="filter-count")

    def on_mount(self) -> None:
        """Leave the room to the table."""
        self.display = False

    @property
    def words(self) -> str:
        """What was written."""
        return self.query_one(Input).value

    def open(self) -> None:
        """Show it, and write into it."""
        self.display = True
        self.query_one(Input).focus()

    def close(self) -> None:
        """Forget what was written, and hide it."""
        self.query_one(Input).value = ""
        self.display = False

    def show_count(self, num_shown: int, num_runs: int) -> None:
        """Say how many runs are left.

        Args:
            num_shown (int): Those that the filter leaves.
            num_runs (int): All of them.
        """
        self.query_one(Steady).show_text(f"{num_shown} of {num_runs} runs")
