"""The loss of every step, or of the last ones.

The only place that imports the plotting library, and with it numpy: the Train place loads it when
it is first shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static
from textual_plot import HiResMode, PlotWidget

from ptune_tui.tui.series import Point, decimate

NUM_RECENT = 50


class LossChart(Container):
    """A line chart that stays cheap however long the run is."""

    def __init__(self) -> None:
        super().__init__(id="chart")
        self.shows_recent = False
        self._points: Sequence[Point] = ()
        self._drawn: tuple[object, ...] | None = None

    def compose(self) -> ComposeResult:
        """The plot, which takes no keys, and what stands there before it."""
        yield Static("After the first step.", id="no-loss")
        plot = PlotWidget(allow_pan_and_zoom=False)
        plot.can_focus = False
        yield plot

    def on_mount(self) -> None:
        """Leave the room to the curve."""
        plot = self.query_one(PlotWidget)
        plot.margin_top, plot.margin_bottom, plot.margin_left = 0, 1, 6
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
        picture = (len(self._points), self.shows_recent, self.size.width, self.app.theme)
        if picture == self._drawn or not self.is_mounted or self.size.width < 4:
            return
        self._drawn = picture
        self._name_it()
        plot = self.query_one(PlotWidget)
        plot.clear()
        chosen = self._points[-NUM_RECENT:] if self.shows_recent else self._points
        kept = decimate(chosen, 2 * self.size.width)
        plot.display = bool(kept)
        self.query_one("#no-loss").display = not kept
        if kept:
            xs, ys = [point[0] for point in kept], [point[1] for point in kept]
            plot.set_xlimits(xs[0], max(xs[0] + 9, xs[-1] + 0.01 * (xs[-1] - xs[0])))
            plot.set_ylimits(*_limits(ys))
            colour = self.app.theme_variables["primary"]
            plot.plot(xs, ys, line_style=colour, hires_mode=HiResMode.BRAILLE)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest of the axis, with some room about a curve that is flat."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room
