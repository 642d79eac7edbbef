"""The loss of every step, or of the last ones."""

from __future__ import annotations

from collections.abc import Sequence

from ptune_tui.series import Point
from ptune_tui.tui.widgets.curve import Curve

NUM_RECENT = 50


class LossChart(Curve):
    """The loss curve of a run."""

    def __init__(self) -> None:
        super().__init__("After the first step.", id="chart")
        self.shows_recent = False
        self._points: Sequence[Point] = ()
        self._drawn: tuple[object, ...] | None = None

    def on_mount(self) -> None:
        """Name the box."""
        self._name_it()

    def on_resize(self) -> None:
        """Take as many points as the new width holds."""
        self._draw()

    def show(self, points: Sequence[Point]) -> None:
        """Draw the losses.

        Args:
            points (Sequence[Point]): (step, loss), in order.
        """
        self._points = points
        self._draw()

    def toggle_view(self) -> None:
        """Change between all steps and the last ones."""
        self.shows_recent = not self.shows_recent
        self._name_it()
        self._draw()

    def _name_it(self) -> None:
        recent = f"last {NUM_RECENT} steps"
        has_more = len(self._points) > NUM_RECENT
        self.border_title = f"loss, {recent}" if self.shows_recent else "loss, all steps"
        other = "all steps" if self.shows_recent else recent
        self.border_subtitle = f"v: {other}" if has_more else ""

    def _draw(self) -> None:
        """Draw, unless the picture would be the same."""
        last = self._points[-1] if self._points else None
        view = (self.shows_recent, self.size.width, self.app.theme)
        picture = (len(self._points), last, *view)
        if picture == self._drawn or not self.is_mounted or self.size.width < 4:
            return
        self._drawn = picture
        self._name_it()
        chosen = self._points[-NUM_RECENT:] if self.shows_recent else self._points
        first = chosen[0][0] if chosen else 0.0
        end = chosen[-1][0] if chosen else 0.0
        self.draw(chosen, first, max(first + 9, end + 0.01 * (end - first)))
