"""Loss curves of several runs over each other, with a legend that needs no colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content

from ptune_tui.series import Point
from ptune_tui.tui.run_look import Look
from ptune_tui.tui.widgets.curve import MARKERS, Curve, Line
from ptune_tui.tui.widgets.run_table import line_colours
from ptune_tui.tui.widgets.steady import Steady

STEEP = 8.0  # the highest loss over the lowest from where the axis counts in powers of ten


class RunCurves(Curve):
    """The curves of the marked runs, or of the one under the cursor."""

    def __init__(self) -> None:
        super().__init__("No step was done.", id="run-curves")
        self._looks: Sequence[Look] = ()
        self._drawn: object = None

    def compose(self) -> ComposeResult:
        """The legend below the curves."""
        yield from super().compose()
        yield Steady("", id="legend-line")

    def on_resize(self) -> None:
        """Take as many points as the new width holds."""
        self._draw()

    def show(self, looks: Sequence[Look]) -> None:
        """Draw the curves, unless the picture would be the same.

        Args:
            looks (Sequence[Look]): The runs, in the order of their markers.
        """
        self._looks = looks
        self._draw()

    def _draw(self) -> None:
        curves_of = [(look.run, look.curve) for look in self._looks]
        picture = (curves_of, self.size, self.app.theme, self.charts)
        if picture == self._drawn or not self.is_mounted or self.size.width < 4:
            return
        self._drawn = picture
        has_several = len(self._looks) > 1
        colours = line_colours(self.app.theme_variables)
        curves = [look.curve for look in self._looks]
        in_tens = fall_is_steep([loss for curve in curves for _, loss in curve])
        self.count_up_in_tens(in_tens)
        self.draw_lines(
            [
                Line(_in_tens(curve) if in_tens else curve, marker, colour)
                for curve, marker, colour in zip(curves, MARKERS, colours, strict=False)
            ]
        )
        title = "loss of the marked runs" if has_several else "loss"
        title += f" of {self._looks[0].run.name}" if len(self._looks) == 1 else ""
        self.border_title = f"{title}, smoothed" + (", log scale" if in_tens else "")
        legend = self.query_one("#legend-line", Steady)
        legend.display = has_several
        legend.show_text(_legend(self._looks, colours, self.size.width - 2))


def fall_is_steep(losses: Sequence[float]) -> bool:
    """Whether curves that end low would lie flat on the floor of a plain axis."""
    return bool(losses) and 0 < STEEP * min(losses) < max(losses)


def _in_tens(curve: Sequence[Point]) -> list[Point]:
    return [(step, math.log10(loss)) for step, loss in curve]


def _legend(looks: Sequence[Look], colours: Sequence[str], width: int) -> Content:
    """The runs in one line, or where that is too long in a line each."""
    parts = [
        Content.assemble((f"{marker} {look.run.name}", colour), f" {_last_loss(look)}")
        for look, marker, colour in zip(looks, MARKERS, colours, strict=False)
    ]
    line = Content("   ").join(parts)
    return line if line.cell_length <= width else Content("\n").join(parts)


def _last_loss(look: Look) -> str:
    return "no step" if look.last_loss is None else f"{look.last_loss:.3f}"
