"""What is known of a run, and loss curves: side by side, or one of them where it is narrow."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal

from ptune_tui.runs import RunSummary
from ptune_tui.tui.run_look import Look
from ptune_tui.tui.widgets.run_curves import RunCurves
from ptune_tui.tui.widgets.run_details import RunDetails


class RunBody(Horizontal):
    """The lower half of the list of runs."""

    shows_curves = False  # where there is no room for both

    def __init__(self) -> None:
        super().__init__(id="runs-body")

    def compose(self) -> ComposeResult:
        """Details and curves."""
        yield RunDetails(id="run-details")
        yield RunCurves()

    def show(
        self,
        run: RunSummary | None,
        look: Look | None,
        marked: Sequence[Look],
        now: float,
        key: str,
        *,
        is_wide: bool,
    ) -> None:
        """Draw a run, and the curves.

        Args:
            run (RunSummary | None): The run under the cursor.
            look (Look | None): What is known of it; None while it is read.
            marked (Sequence[Look]): Whose curves to draw; where there is none, the run's own.
            now (float): Seconds since the epoch.
            key (str): What shows the other one where there is no room for both.
            is_wide (bool): Whether there is room for both.
        """
        details, curves = self.query_one(RunDetails), self.query_one(RunCurves)
        details.display = is_wide or not self.shows_curves
        curves.display = is_wide or self.shows_curves
        details.border_subtitle = "" if is_wide else f"{key}: loss curves"
        curves.border_subtitle = "" if is_wide else f"{key}: details"
        details.show(run, look, now)
        curves.show(marked or ([look] if look else []))
