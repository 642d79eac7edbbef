"""The loss of the range test against the rate, the proposed rate marked."""

from __future__ import annotations

import math

from ptune_tui.tui.rate_state import RateState
from ptune_tui.tui.widgets.axes import TensAxis
from ptune_tui.tui.widgets.curve import Curve


class RateChart(Curve):
    """The curve of a range test."""

    def __init__(self) -> None:
        super().__init__("After the first rate.", id="rate-chart", axis=TensAxis())
        self._drawn: tuple[object, ...] | None = None

    def on_mount(self) -> None:
        """Name the box."""
        self.border_title = "loss (smoothed) against learning rate"

    def show(self, state: RateState) -> None:
        """Draw the curve, unless the picture would be the same.

        Args:
            state (RateState): The test.
        """
        picture = (len(state.tried), state.proposed, self.size, self.app.theme, self.charts)
        if picture == self._drawn or not self.is_mounted or self.size.width < 4:
            return
        self._drawn = picture
        points = [(math.log10(tried.learning_rate), tried.loss) for tried in state.tried]
        first = points[0][0] if points else 0.0
        last = max(first + 1.0, points[-1][0]) if points else 1.0
        mark = math.log10(state.proposed.learning_rate) if state.proposed else None
        self.draw(points, first - 0.05, last + 0.05, mark)
