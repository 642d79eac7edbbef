"""A plot as the template draws it: values become places in a box of 480 x 270 units.

A series is told apart by colour, by dashes and by the shape of its markers, so that it is in print
and by people who see fewer colours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ptune_tui.report.axis import Axis, tick_text
from ptune_tui.series import Point, decimate

LEFT, RIGHT, TOP, BOTTOM = 62.0, 456.0, 12.0, 228.0
MAX_POINTS = 2 * int(RIGHT - LEFT)  # the lowest and the highest value of each column of the box
MARKERS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",  # circle
    "M-3.6,-3.6h7.2v7.2h-7.2z",  # square
    "M0,-5L5,0L0,5L-5,0z",  # diamond
    "M0,-4.8L4.6,3.6H-4.6z",  # triangle
    "M0,4.8L4.6,-3.6H-4.6z",  # triangle, upside down
    "M-4,-4L4,4M-4,4L4,-4",  # cross
)
NUM_STYLES = len(MARKERS)


@dataclass(frozen=True)
class Series:
    """Values that belong together.

    Attributes:
        name: As the legend says it; empty for none.
        points: x and y; what is not finite is left out.
        style: Which colour, dashes and marker: below `NUM_STYLES`.
        has_line: Whether the points are joined.
        has_markers: Whether each point is marked.
        is_faint: Whether it lies pale behind another series.
        intervals: Low and high of each point; empty for none.
        titles: What each marker says when it is pointed at; empty for nothing.
        sizes: Of each marker, 1 for the usual one; empty for that.
    """

    name: str
    points: Sequence[Point]
    style: int = 0
    has_line: bool = True
    has_markers: bool = False
    is_faint: bool = False
    intervals: Sequence[tuple[float, float]] = ()
    titles: Sequence[str] = ()
    sizes: Sequence[float] = ()


@dataclass(frozen=True)
class Rule:
    """A straight line across the plot with a word on it; `x` or `y` is None."""

    text: str
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True)
class Tick:
    """A labelled place of an axis."""

    position: float
    text: str


@dataclass(frozen=True)
class Line:
    """A path of the plot."""

    path: str
    style: int
    is_faint: bool


@dataclass(frozen=True)
class Marker:
    """A marked point."""

    x: float
    y: float
    path: str
    style: int
    size: float
    title: str


@dataclass(frozen=True)
class Interval:
    """A vertical bar with caps."""

    x: float
    low: float
    high: float
    style: int


@dataclass(frozen=True)
class LegendEntry:
    """How a series looks, and its name."""

    name: str
    style: int
    marker: str | None
    has_line: bool
    is_faint: bool


@dataclass(frozen=True)
class PlacedRule:
    """A line across the plot, in units of the box."""

    text: str
    x: float | None
    y: float | None
    is_text_left: bool


@dataclass
class Plot:
    """A plot.

    Attributes:
        key: A word that names it in the page.
        title: What it shows.
        summary: The same as a sentence with figures, for people who do not see it.
        x: The horizontal axis.
        y: The vertical axis.
        series: What is drawn, the last one on top.
        rules: Lines across it.
        caption: What to know when reading it.
    """

    key: str
    title: str
    summary: str
    x: Axis
    y: Axis
    series: list[Series]
    rules: list[Rule] = field(default_factory=list)
    caption: str = ""

    def x_of(self, value: float) -> float:
        """Where a value of the horizontal axis lies."""
        return round(LEFT + self.x.share(value) * (RIGHT - LEFT), 2)

    def y_of(self, value: float) -> float:
        """Where a value of the vertical axis lies; one beyond the axis, at its end."""
        return round(BOTTOM - min(1.0, max(0.0, self.y.share(value))) * (BOTTOM - TOP), 2)

    @property
    def x_ticks(self) -> list[Tick]:
        """Of the horizontal axis."""
        return [Tick(self.x_of(value), tick_text(value)) for value in self.x.ticks]

    @property
    def y_ticks(self) -> list[Tick]:
        """Of the vertical axis."""
        return [Tick(self.y_of(value), tick_text(value)) for value in self.y.ticks]

    @property
    def lines(self) -> list[Line]:
        """The joined points, thinned to the lowest and highest of each column."""
        found = []
        for series in self.series:
            points = decimate(series.points, MAX_POINTS)
            if series.has_line and len(points) > 1:
                places = (f"{self.x_of(x):g},{self.y_of(y):g}" for x, y in points)
                found.append(Line("M" + "L".join(places), series.style, series.is_faint))
        return found

    @property
    def markers(self) -> list[Marker]:
        """The marked points; those that are not finite are left out."""
        found = []
        for series in self.series:
            # A line of one point would be nothing.
            if not series.has_markers and len(series.points) > 1:
                continue
            for number, (x, y) in enumerate(series.points):
                if math.isfinite(x) and math.isfinite(y):
                    title = series.titles[number] if series.titles else ""
                    size = series.sizes[number] if series.sizes else 1.0
                    path = MARKERS[series.style]
                    found.append(
                        Marker(self.x_of(x), self.y_of(y), path, series.style, size, title)
                    )
        return found

    @property
    def intervals(self) -> list[Interval]:
        """The bars of points that have one."""
        return [
            Interval(self.x_of(x), self.y_of(low), self.y_of(high), series.style)
            for series in self.series
            for (x, _), (low, high) in zip(series.points, series.intervals, strict=False)
            if math.isfinite(low) and math.isfinite(high)
        ]

    @property
    def legend(self) -> list[LegendEntry]:
        """What is drawn, in words."""
        return [
            LegendEntry(
                series.name,
                series.style,
                MARKERS[series.style] if series.has_markers else None,
                series.has_line,
                series.is_faint,
            )
            for series in self.series
            if series.name
        ]

    @property
    def placed_rules(self) -> list[PlacedRule]:
        """The lines across it; a text that would leave the box stands on the other side."""
        found = []
        for rule in self.rules:
            x = None if rule.x is None else self.x_of(rule.x)
            y = None if rule.y is None else self.y_of(rule.y)
            is_left = x is not None and x > (LEFT + RIGHT) / 2
            found.append(PlacedRule(rule.text, x, y, is_left))
        return found


def finite(points: Sequence[Point]) -> list[Point]:
    """The points that can be drawn."""
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
