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


def _extremes(stretch: Sequence[Point]) -> list[Point]:
    lowest = min(stretch, key=lambda point: point[1])
    highest = max(stretch, key=lambda point: point[1])
    return sorted({lowest, highest})
