"""The learning curve: score against training rows, its fit, and what twice the rows would give."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import replace

from ptune_tui.report.axis import linear_axis, log_axis
from ptune_tui.report.plot import Plot, Rule, Series
from ptune_tui.report.words import METRIC_NAMES, OF_HUNDRED
from ptune_tui.results import LearningCurve, LearningFit

_FIT_POINTS = 60


def learning_plot(curve: LearningCurve) -> Plot:
    """The curve as a plot.

    Args:
        curve (LearningCurve): At least one point.
    """
    metric = METRIC_NAMES[curve.metric]
    by_rows: dict[int, list[float]] = defaultdict(list)
    for point in curve.points:
        by_rows[point.num_rows].append(point.score)
    means = [(float(rows), statistics.fmean(by_rows[rows])) for rows in sorted(by_rows)]
    each = [(float(point.num_rows), point.score) for point in curve.points]
    titles = [f"{one.num_rows} rows, seed {one.seed}: {one.score:.3f}" for one in curve.points]
    has_seeds = len(each) > len(means)
    series = []
    if has_seeds:
        seeds = Series("one seed", each, 2, has_line=False, has_markers=True, titles=titles)
        series.append(replace(seeds, sizes=[0.7] * len(each)))
    name = "mean of the seeds" if has_seeds else metric
    series.append(Series(name, means, 0, has_markers=True))
    values, rows = [score for _, score in each], [float(one) for one in by_rows]
    if curve.fit is not None:
        series += _fit(curve.fit, min(rows))
        values += [curve.fit.low, curve.fit.high]
        rows.append(float(curve.fit.doubled_rows))
    rules = []
    if curve.base_score is not None:
        rules.append(Rule(f"without a prompt: {curve.base_score:.3f}", y=curve.base_score))
        values.append(curve.base_score)
    limits = (0.0, 100.0 if curve.metric in OF_HUNDRED else 1.0)
    return Plot(
        key="learning-curve",
        title="Learning curve",
        summary=curve.verdict,
        x=log_axis("training rows (logarithmic)", rows),
        y=linear_axis(metric, values, limits=limits),
        series=series,
        rules=rules,
        caption=f"Each point is a prompt trained on that many rows and scored on the same "
        f"{curve.num_validation_rows} validation rows.",
    )


def _fit(fit: LearningFit, first: float) -> list[Series]:
    ratio = fit.doubled_rows / first
    rows = [first * ratio ** (number / _FIT_POINTS) for number in range(_FIT_POINTS + 1)]
    curve = [(count, fit.ceiling - fit.gain * count**-fit.power) for count in rows]
    text = f"{fit.doubled_rows} rows: {fit.doubled_score:.3f} ({fit.low:.3f} to {fit.high:.3f})"
    doubled = Series(
        f"estimate for {text}",
        [(float(fit.doubled_rows), fit.doubled_score)],
        3,
        has_line=False,
        has_markers=True,
        intervals=[(fit.low, fit.high)],
        titles=[text],
    )
    return [Series("fit", curve, 1), doubled]
