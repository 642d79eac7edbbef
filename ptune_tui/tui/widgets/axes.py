"""Ticks of a curve's axes: round values, no more of them than there is room for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from textual_plot.axis_formatter import AxisFormatter

MAX_TICKS = 6
LABEL_WIDTH = 5  # cells; the plot cuts longer ones
_ROWS_PER_TICK = 2  # where two share a row, one hides the other
_ROWS_OF_TWO = 4  # from where two labels never share a row
_ROUND = (1.0, 2.0, 5.0, 10.0)


class TensAxis(AxisFormatter):  # type: ignore[misc]
    """Ticks of an axis that counts in powers of ten: 0.01, 0.03, 0.1, ...

    Args:
        num_rows (Callable[[], int] | None): Height of an axis that goes up, in terminal rows.
    """

    def __init__(self, num_rows: Callable[[], int] | None = None) -> None:
        self._num_rows = num_rows

    def get_ticks(self, min_: float, max_: float, max_ticks: int = MAX_TICKS) -> list[float]:
        """Ones and threes, or only ones where those would be too many."""
        if self._num_rows is not None:
            max_ticks = num_ticks_of(self._num_rows())
        first, last = int(min_ // 1), int(max_ // 1) + 1
        ones = [float(power) for power in range(first, last + 1)]
        threes = [power + 0.47712125 for power in ones]
        ticks = [tick for tick in sorted([*ones, *threes]) if min_ <= tick <= max_]
        if len(ticks) > max_ticks:
            return [tick for tick in ones if min_ <= tick <= max_]
        return ticks

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """The values themselves."""
        return [f"{float(f'{10**tick:.1g}'):g}" for tick in ticks]


class UpAxis(AxisFormatter):  # type: ignore[misc]
    """Ticks of plain numbers on an axis that goes up.

    Args:
        num_rows (Callable[[], int]): Its height, in terminal rows.
    """

    def __init__(self, num_rows: Callable[[], int]) -> None:
        self._num_rows = num_rows
        self._interval = 1.0

    def get_ticks(self, min_: float, max_: float, max_ticks: int = MAX_TICKS) -> list[float]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        num_ticks = min(max_ticks, num_ticks_of(self._num_rows()))
        self._interval = round_interval(max_ - min_, num_ticks)
        ticks = self._multiples(min_, max_)
        while len(ticks) < 2 and self._num_rows() >= _ROWS_OF_TWO:  # one number is no scale
            num_ticks += 1
            self._interval = round_interval(max_ - min_, num_ticks)
            ticks = self._multiples(min_, max_)
            ticks = [ticks[0], ticks[-1]] if len(ticks) > 2 else ticks
        return ticks

    def _multiples(self, low: float, high: float) -> list[float]:
        first = math.ceil(low / self._interval - 1e-9)
        last = math.floor(high / self._interval + 1e-9)
        return [number * self._interval for number in range(first, last + 1)]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """Values as exact as their distance asks for; `15e-6` where that is too long."""
        power = math.floor(math.log10(self._interval) + 1e-9)
        labels = [f"{tick:.{max(0, -power)}f}" for tick in ticks]
        if all(len(label) <= LABEL_WIDTH for label in labels):
            return labels
        return [f"{round(tick / 10**power)}e{power}" if tick else "0" for tick in ticks]


def num_ticks_of(num_rows: int) -> int:
    """Ticks that an axis has room for.

    Args:
        num_rows (int): Its height.
    """
    return max(2, min(MAX_TICKS, num_rows // _ROWS_PER_TICK))


def round_interval(span: float, num_ticks: int) -> float:
    """The smallest round distance of ticks of which so many suffice.

    Args:
        span (float): Between the axis's ends, more than 0.
        num_ticks (int): At most so many ticks.
    """
    smallest = span / num_ticks
    power = 10.0 ** math.floor(math.log10(smallest))
    return next(power * factor for factor in _ROUND if power * factor >= smallest * (1 - 1e-9))
