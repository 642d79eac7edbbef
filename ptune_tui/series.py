"""Fewer points of a curve, with its peaks kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]


def decimate(points: Sequence[Point], limit: int) -> list[Point]:
    """At most `limit` points: the lowest and the highest of each stretch, in order.

    Args:
        points (Sequence[Point]): In order of x; those that are not finite are dropped.
        limit (int): At least 2.
    """
    finite = [point for point in points if math.isfinite(point[0]) and math.isfinite(point[1])]
    if len(finite) <= limit:
        return finite
    num_stretches = max(1, limit // 2)
    kept: list[Point] = []
    for number in range(num_stretches):
        first = number * len(finite) // num_stretches
        last = (number + 1) * len(finite) // num_stretches
        kept += _extremes(finite[first:last])
    return kept


class Thinned:
    """A curve that grows, with few enough points to be drawn at any time.

    Keeps the lowest and the highest point of each stretch; when there are too many stretches, each
    two become one. So a new point costs the same however long the curve is.

    Args:
        limit (int): Points that are kept at most.
    """

    def __init__(self, limit: int) -> None:
        self._max_stretches = 2 * max(1, limit // 4)  # even, so that they make pairs
        self._num = 0
        self._last: Point | None = None
        self._begin()

    def follow(self, curve: Sequence[Point]) -> list[Point]:
        """Take in what was added to a curve; returns the points that are kept.

        Args:
            curve (Sequence[Point]): In order of x, whole; one that went back is taken in anew.
        """
        is_same = len(curve) >= self._num and (self._num == 0 or curve[self._num - 1] == self._last)
        if not is_same:
            self._begin()
        for number in range(self._num, len(curve)):
            self._add(curve[number])
        self._num = len(curve)
        self._last = curve[-1] if curve else None
        return [point for pair in self._stretches for point in sorted(set(pair))]

    def _begin(self) -> None:
        self._num, self._last = 0, None
        self._stretches: list[tuple[Point, Point]] = []
        self._stretch_size = 1  # points that a stretch is made of
        self._num_in_last = 0

    def _add(self, point: Point) -> None:
        if not (math.isfinite(point[0]) and math.isfinite(point[1])):
            return
        if self._stretches and self._num_in_last < self._stretch_size:
            self._stretches[-1] = _merged(self._stretches[-1], (point, point))
            self._num_in_last += 1
            return
        if len(self._stretches) == self._max_stretches:
            pairs = zip(self._stretches[::2], self._stretches[1::2], strict=True)
            self._stretches = [_merged(one, other) for one, other in pairs]
            self._stretch_size *= 2
        self._stretches.append((point, point))
        self._num_in_last = 1


def smoothed(points: Sequence[Point], weight: float) -> list[Point]:
    """The running mean of a curve, the first points not drawn towards zero.

    Args:
        points (Sequence[Point]): In order of x; those that are not finite are dropped.
        weight (float): Of what came before, from 0 to below 1.
    """
    mean, total, curve = 0.0, 0.0, []
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            mean = weight * mean + (1 - weight) * y
            total = weight * total + (1 - weight)
            curve.append((x, mean / total))
    return curve


def _merged(one: tuple[Point, Point], other: tuple[Point, Point]) -> tuple[Point, Point]:
    """The lowest and the highest point of two stretches."""
    low = one[0] if one[0][1] <= other[0][1] else other[0]
    high = one[1] if one[1][1] >= other[1][1] else other[1]
    return low, high


def _extremes(stretch: Sequence[Point]) -> list[Point]:
    lowest = min(stretch, key=lambda point: point[1])
    highest = max(stretch, key=lambda point: point[1])
    return sorted({lowest, highest})
