"""A line that stays cheap however many points it has.

The only place that imports the plotting library, and with it numpy: whoever shows a curve imports
this when it is first shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widgets import Static
from textual_plot import HiResMode, PlotWidget
from textual_plot.axis_formatter import AxisFormatter

from ptune_tui.series import Point, decimate
from ptune_tui.tui.widgets.axes import TensAxis, UpAxis

if TYPE_CHECKING:
    from ptune_tui.settings import Charts

MODES = {"braille": HiResMode.BRAILLE, "blocks": HiResMode.QUADRANT}
MARKERS = "●■▲◆✚★"  # of several curves, in order
NUM_MARKERS = 8  # on a curve as long as the axis


@dataclass(frozen=True)
class Line:
    """One of several curves.

    Attributes:
        points: In order of x.
        marker: What stands on it here and there, so that it can be told without its colour.
        colour: As the terminal takes it.
    """

    points: Sequence[Point]
    marker: str
    colour: str


class Curve(Container, can_focus=True):
    """A plot, and the sentence that stands there before it. It takes no keys, but the focus.

    Args:
        waiting (str): The sentence.
        id (str): The widget's id.
        axis (AxisFormatter | None): Of x; None for plain numbers.
    """

    def __init__(self, waiting: str, *, id: str, axis: AxisFormatter | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes="curve")
        self._waiting = waiting
        self._axis = axis

    @property
    def charts(self) -> Charts:
        """What lines are drawn with."""
        from ptune_tui.tui.app import PTuneApp

        assert isinstance(self.app, PTuneApp)
        return self.app.charts

    def compose(self) -> ComposeResult:
        """Sentence and plot."""
        yield Static(self._waiting, classes="no-curve")
        plot = PlotWidget(allow_pan_and_zoom=False)
        plot.can_focus = False
        yield plot

    def on_mount(self) -> None:
        """Leave the room to the curve."""
        plot = self.query_one(PlotWidget)
        plot.margin_top, plot.margin_bottom, plot.margin_left = 0, 1, 6
        if self._axis is not None:
            plot.set_x_formatter(self._axis)
        self.count_up_in_tens(False)

    def wait_for(self, what: str) -> None:
        """Say why there is no curve yet.

        Args:
            what (str): A sentence.
        """
        if what != self._waiting:
            self._waiting = what
            self.query_one(".no-curve", Static).update(Content(what))

    def draw(
        self, points: Sequence[Point], left: float, right: float, mark: float | None = None
    ) -> None:
        """Draw a curve in place of the one before.

        Args:
            points (Sequence[Point]): In order of x.
            left (float): Where the axis begins.
            right (float): Where it ends.
            mark (float | None): Where a vertical line stands.
        """
        plot = self.query_one(PlotWidget)
        plot.clear()
        kept = decimate(points, 2 * self.size.width)
        plot.display = bool(kept)
        self.query_one(".no-curve").display = not kept
        if not kept:
            return
        plot.set_xlimits(left, right)
        plot.set_ylimits(*_limits([point[1] for point in kept]))
        colours = self.app.theme_variables
        if mark is not None:
            plot.add_v_line(mark, line_style=colours["foreground"])
        plot.plot(
            [point[0] for point in kept],
            [point[1] for point in kept],
            line_style=colours["primary"],
            hires_mode=MODES[self.charts],
        )

    def draw_lines(self, lines: Sequence[Line]) -> None:
        """Draw several curves in place of what was there.

        Args:
            lines (Sequence[Line]): Those without a finite point are left out.
        """
        plot = self.query_one(PlotWidget)
        plot.clear()
        kept = [(line, decimate(line.points, 2 * self.size.width)) for line in lines]
        drawn = [(line, points) for line, points in kept if points]
        plot.display = bool(drawn)
        self.query_one(".no-curve").display = not drawn
        if not drawn:
            return
        right = max(points[-1][0] for _, points in drawn)
        plot.set_xlimits(0.0, max(9.0, 1.01 * right))
        plot.set_ylimits(*_limits([y for _, points in drawn for _, y in points]))
        for line, points in drawn:
            xs, ys = [point[0] for point in points], [point[1] for point in points]
            plot.plot(xs, ys, line_style=line.colour, hires_mode=MODES[self.charts])
        for number, (line, points) in enumerate(drawn if len(drawn) > 1 else []):  # on top
            marked = marker_points(points, right, (number + 1) / (len(drawn) + 1))
            xs, ys = [point[0] for point in marked], [point[1] for point in marked]
            plot.scatter(xs, ys, marker=line.marker, marker_style=line.colour)

    def count_up_in_tens(self, in_tens: bool) -> None:
        """Label the upper axis's powers of ten, or plain numbers."""
        plot = self.query_one(PlotWidget)
        axis = TensAxis if in_tens else UpAxis
        plot.set_y_formatter(axis(lambda: plot.size.height - plot.margin_bottom))


def marker_points(points: Sequence[Point], right: float, shift: float) -> list[Point]:
    """Where a curve's markers stand: its points nearest to places that are evenly spread.

    Args:
        points (Sequence[Point]): The curve, at least one.
        right (float): Where the axis ends.
        shift (float): Of the places, in parts of their distance, so that curves do not hide
            each other's.
    """
    places = [(number + shift) * right / NUM_MARKERS for number in range(NUM_MARKERS)]
    within = [place for place in places if points[0][0] <= place <= points[-1][0]]
    nearest = [min(points, key=lambda point: abs(point[0] - place)) for place in within]
    return nearest or [points[-1]]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest of the axis, with some room about a curve that is flat."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room
