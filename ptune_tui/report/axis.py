"""An axis: which values it spans, where its ticks are, and where a value lies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
# Ticks within each decade, of axes that span up to so many.
_BETWEEN = ((1.5, (1.0, 2.0, 5.0)), (3.0, (1.0, 3.0)), (math.inf, (1.0,)))


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        title: What it shows, with the unit.
        low: The value at its start.
        high: The value at its end; larger.
        ticks: Values that are labelled.
        is_log: Whether equal distances are equal ratios.
    """

    title: str
    low: float
    high: float
    ticks: list[float]
    is_log: bool = False

    def share(self, value: float) -> float:
        """How far along the axis a value lies: 0 at `low`, 1 at `high`."""
        low, high = self.low, self.high
        if self.is_log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return (value - low) / (high - low)


def linear_axis(
    title: str,
    values: Iterable[float],
    *,
    num_ticks: int = 5,
    limits: tuple[float, float] | None = None,
    is_snug: bool = False,
) -> Axis:
    """An axis with ticks at round values around some values.

    Args:
        title (str): What it shows.
        values (Iterable[float]): Finite values that must be seen.
        num_ticks (int): About how many.
        limits (tuple[float, float] | None): Values it never goes beyond.
        is_snug (bool): Whether it ends at the last value, and not at the next tick.
    """
    found = list(values)
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        # A flat line lies in the middle.
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad
    step = _round_step((high - low) / num_ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [number * step for number in range(first, last + 1)]
    if not is_snug:
        low, high = ticks[0], ticks[-1]
    if limits is not None:
        low, high = max(low, limits[0]), min(high, limits[1])
    slack = 1e-9 * (high - low)
    return Axis(title, low, high, [tick for tick in ticks if low - slack <= tick <= high + slack])


def log_axis(title: str, values: Iterable[float]) -> Axis:
    """A logarithmic axis around some values, with ticks at powers of ten and between few of them.

    Args:
        title (str): What it shows.
        values (Iterable[float]): Finite values above 0 that must be seen; at least one.
    """
    found = list(values)
    low, high = min(found), max(found)
    if high <= low * 1.001:
        low, high = low / 2, high * 2
    span = math.log10(high / low)
    between = next(factors for limit, factors in _BETWEEN if span <= limit)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**decade for decade in decades for factor in between]
    seen = [tick for tick in ticks if low <= tick <= high]
    if len(seen) < 2:
        # Between two of them: as on a linear axis.
        seen = [tick for tick in linear_axis(title, [low, high]).ticks if low <= tick <= high]
    return Axis(title, low, high, seen, is_log=True)


def value_axis(title: str, values: Iterable[float]) -> Axis:
    """Logarithmic where positive values span more than a factor of 30, else linear."""
    found = list(values)
    if found and min(found) > 0 and max(found) > 30 * min(found):
        return log_axis(f"{title} (logarithmic)", found)
    return linear_axis(title, found)


def tick_text(value: float) -> str:
    """A tick in few characters."""
    if value != 0 and (abs(value) >= 1e6 or abs(value) < 1e-4):
        return f"{value:.3g}"
    if value == round(value):
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.6g}"


def _round_step(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step))
    return next(factor * size for factor in _STEPS if factor * size >= step * (1 - 1e-9))
