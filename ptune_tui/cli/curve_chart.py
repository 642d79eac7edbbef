"""Score against rows as a chart of text, and the same as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ptune_tui.cli.display import minutes
from ptune_tui.curve_fit import score_at
from ptune_tui.results import LearningCurve

WIDTH, HEIGHT = 64, 14
MEASURED, FITTED, DOUBLED, INTERVAL = "*", ".", "o", "|"
_LEFT = 8  # columns of the scores beside the chart


def curve_table(curve: LearningCurve) -> list[str]:
    """A line a size: rows, steps, the score of each seed, and the time.

    Args:
        curve (LearningCurve): At least one point.
    """
    seeds = sorted({point.seed for point in curve.points})
    scores = {(point.num_rows, point.seed): point.score for point in curve.points}
    heads = [f"seed {seed}" for seed in seeds] if len(seeds) > 1 else [curve.metric]
    lines = [f"{'rows':>8} {'steps':>7} {' '.join(f'{head:>11}' for head in heads)} {'time':>12}"]
    if curve.base_score is not None:
        lines.append(f"{'base':>8} {'':>7} {curve.base_score:>11.3f}")
    for size in sorted({point.num_rows for point in curve.points}):
        own = [point for point in curve.points if point.num_rows == size]
        cells = (scores.get((size, seed)) for seed in seeds)
        shown = " ".join(f"{'' if cell is None else f'{cell:.3f}':>11}" for cell in cells)
        seconds = minutes(sum(point.seconds for point in own))
        lines.append(f"{size:>8,} {own[0].num_steps:>7} {shown} {seconds:>12}")
    return lines


def curve_chart(curve: LearningCurve) -> list[str]:
    """Lines of a chart: rows on a logarithmic axis, scores upwards.

    Points are stars, the fitted law is dotted, and twice the rows is a circle in its interval.

    Args:
        curve (LearningCurve): At least one point.
    """
    scores = [point.score for point in curve.points]
    first = min(point.num_rows for point in curve.points)
    last = max(point.num_rows for point in curve.points)
    if curve.fit is not None:
        scores += [curve.fit.low, curve.fit.high]
        last = curve.fit.doubled_rows
    low, high = min(scores), max(scores)
    cells = [[" "] * WIDTH for _ in range(HEIGHT)]

    def put(rows: float, score: float, mark: str) -> None:
        share = math.log(rows / first) / math.log(last / first) if last > first else 0.0
        height = (high - score) / (high - low) if high > low else 0.0
        if 0.0 <= height <= 1.0:
            cells[round(height * (HEIGHT - 1))][round(share * (WIDTH - 1))] = mark

    for rows, score, mark in _marks(curve, first, last):
        put(rows, score, mark)
    for point in curve.points:
        put(point.num_rows, point.score, MEASURED)
    lines = []
    for number, row in enumerate(cells):
        score = high - (high - low) * number / (HEIGHT - 1)
        label = f"{score:.3f}" if number in (0, HEIGHT // 2, HEIGHT - 1) else ""
        lines.append(f"{label:>{_LEFT}} |{''.join(row).rstrip()}")
    lines.append(f"{'score':>{_LEFT}} +{'-' * WIDTH}")
    right = f"{last:,}"
    lines.append(f"{'rows':>{_LEFT}}  {first:<{WIDTH - len(right)},}{right}")
    return lines


def _marks(curve: LearningCurve, first: int, last: int) -> Iterator[tuple[float, float, str]]:
    """What the fit draws: the law at every column, then the interval of twice the rows."""
    fit = curve.fit
    if fit is None:
        return
    for column in range(WIDTH):
        rows = first * (last / first) ** (column / (WIDTH - 1))
        yield rows, score_at(fit, rows), FITTED
    for step in range(HEIGHT + 1):
        yield fit.doubled_rows, fit.low + (fit.high - fit.low) * step / HEIGHT, INTERVAL
    yield fit.doubled_rows, fit.doubled_score, DOUBLED
