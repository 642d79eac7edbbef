"""Curves become places in a box: thinned with their peaks, and whatever the values are."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest

from ptune_tui.events import EvaluationDone, RolledBack, StepDone
from ptune_tui.report.axis import linear_axis, log_axis, tick_text, value_axis
from ptune_tui.report.learning_plot import learning_plot
from ptune_tui.report.plot import BOTTOM, LEFT, MAX_POINTS, RIGHT, TOP, Plot, Series
from ptune_tui.report.training_plots import smoothed, training_plots
from ptune_tui.run_history import RunHistory
from tests.report.results import learning_curve


def step(number: int, loss: float, rate: float = 0.1, norm: float = 1.0) -> StepDone:
    return StepDone(number, 1000, loss, rate, norm, 1000.0, 1 << 30, 1.0, 9.0)


def places(plot: Plot, number: int = 0) -> np.ndarray:
    """The points of a drawn line, [N, 2]."""
    pairs = re.findall(r"(-?[\d.e+]+),(-?[\d.e+]+)", plot.lines[number].path)
    return np.array(pairs, dtype=float)


def by_key(history: RunHistory) -> dict[str, Plot]:
    return {plot.key: plot for plot in training_plots(history)}


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([3.0, 97.0], [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
        ([0.81, 0.93], [0.8, 0.825, 0.85, 0.875, 0.9, 0.925, 0.95]),
    ],
)
def test_ticks_are_round_and_hold_the_values(values: list[float], ticks: list[float]) -> None:
    axis = linear_axis("", values)
    assert axis.ticks == pytest.approx(ticks)
    assert axis.low <= min(values)
    assert max(values) <= axis.high


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-12, 1e12])
def test_a_flat_line_lies_within_its_axis(value: float) -> None:
    axis = linear_axis("", [value, value])
    assert axis.low < value < axis.high
    assert 0 < axis.share(value) < 1


def test_a_logarithmic_axis_has_equal_distances_for_equal_ratios() -> None:
    axis = log_axis("", [0.01, 100.0])
    assert axis.share(1.0) == pytest.approx(0.5)
    assert axis.ticks[0] == pytest.approx(0.01)
    assert value_axis("loss", [0.1, 100.0]).is_log
    assert not value_axis("loss", [0.0, 100.0]).is_log


def test_ticks_are_short() -> None:
    texts = [tick_text(value) for value in (0.0, 0.1 + 0.2, 1500.0, 2.5e7, 1e-6, 0.825)]
    assert texts == ["0", "0.3", "1\u202f500", "2.5e+07", "1e-06", "0.825"]


def test_a_hundred_thousand_steps_keep_lowest_and_highest_of_each_column() -> None:
    draw = np.random.default_rng(0)
    losses = draw.uniform(1.0, 2.0, 100_000)
    losses[54_321], losses[77_777] = 2.6, 0.4
    history = RunHistory(steps=[step(n + 1, float(loss)) for n, loss in enumerate(losses)])
    plot = by_key(history)["loss"]
    drawn = places(plot)
    assert len(drawn) <= MAX_POINTS
    # The same by numpy: of each column its two extremes, as heights in the box.
    ends = np.arange(MAX_POINTS // 2 + 1) * len(losses) // (MAX_POINTS // 2)
    columns = [losses[first:last] for first, last in itertools.pairwise(ends)]
    extremes = [float(end) for column in columns for end in (column.min(), column.max())]
    heights = sorted(plot.y_of(loss) for loss in extremes)
    np.testing.assert_allclose(sorted(drawn[:, 1]), heights, atol=0.01)
    assert {plot.y_of(2.6), plot.y_of(0.4)} <= set(heights)
    assert (np.diff(drawn[:, 0]) >= 0).all()


def test_what_is_not_finite_breaks_no_plot() -> None:
    losses = [1.0, math.nan, 0.5, math.inf, 0.4, -math.inf]
    steps = [step(n + 1, loss, rate=loss, norm=loss) for n, loss in enumerate(losses)]
    history = RunHistory(steps=steps)
    history.validations.tuned = [
        EvaluationDone(6, 9, math.nan, math.inf, math.nan, 1.0, tuned=True)
    ]
    history.validations.tuned.append(EvaluationDone(6, 9, 0.5, 0.4, 0.3, 1.0, tuned=True))
    for plot in training_plots(history):
        drawn = [line.path for line in plot.lines] + [str(plot.markers), str(plot.y_ticks)]
        assert not re.search(r"nan|inf", "".join(drawn)), plot.key
        assert plot.y.low < plot.y.high
    none = RunHistory(steps=[step(1, math.nan, math.nan, math.nan)])
    none.validations.tuned = [EvaluationDone(1, 9, math.nan, None, None, 1.0, tuned=True)]
    assert [plot.lines for plot in training_plots(none)] == [[], [], []]


def test_every_point_lies_in_the_box() -> None:
    history = RunHistory(steps=[step(n, 10.0 / n, 0.1 / n, 3.0) for n in range(1, 200)])
    history.validations.tuned = [
        EvaluationDone(n, 9, 0.1, 0.05, None, 1.0, tuned=True) for n in (50, 100)
    ]
    history.base = [EvaluationDone(0, 9, 0.9, 0.9, None, 1.0, tuned=False)]
    history.said = [RolledBack(90, 75, 0.05, "because")]
    for plot in [*training_plots(history), learning_plot(learning_curve())]:
        for number in range(len(plot.lines)):
            x, y = places(plot, number).T
            assert LEFT <= x.min() <= x.max() <= RIGHT, plot.key
            assert TOP <= y.min() <= y.max() <= BOTTOM, plot.key
        for rule in plot.placed_rules:
            assert rule.x is None or LEFT <= rule.x <= RIGHT
            assert rule.y is None or TOP <= rule.y <= BOTTOM


def test_smoothing_is_that_of_pandas() -> None:
    losses = np.random.default_rng(1).normal(size=400).cumsum()
    ours = [y for _, y in smoothed(list(enumerate(losses)))]
    window = max(5.0, 400 * 0.02)
    theirs = pd.Series(losses).ewm(alpha=1 / window, adjust=True).mean()
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_the_last_score_on_all_rows_is_no_point_of_the_curve() -> None:
    history = RunHistory()
    history.validations.tuned = [
        EvaluationDone(50, 400, 0.8, 0.8, None, 1.0, tuned=True),
        EvaluationDone(100, 400, 0.9, 0.9, None, 1.0, tuned=True, is_best=True),
        EvaluationDone(100, 872, 0.88, 0.88, None, 1.0, tuned=True, is_best=True),
    ]
    names = {series.name: len(series.points) for series in by_key(history)["scores"].series}
    assert names == {"accuracy": 2, "macro-F1": 2, "accuracy on all 872 rows": 1}


def test_the_learning_curve_shows_means_seeds_fit_and_estimate() -> None:
    curve = learning_curve()
    plot = learning_plot(curve)
    series = {each.name.split(" for ")[0]: each for each in plot.series}
    frame = pd.DataFrame({"rows": p.num_rows, "score": p.score} for p in curve.points)
    means = frame.groupby("rows")["score"].mean()
    assert [y for _, y in series["mean of the seeds"].points] == pytest.approx(list(means))
    assert len(series["one seed"].points) == 18
    assert series["fit"].points[-1][0] == pytest.approx(1024)
    assert series["estimate"].intervals == [(0.886, 0.911)]
    assert len(plot.intervals) == 1
    assert [rule.text for rule in plot.rules] == ["without a prompt: 0.795"]


def test_series_are_told_apart_without_colour() -> None:
    plot = Plot(
        *("key", "title", "words"),
        *(linear_axis("", [0, 1]), linear_axis("", [0, 1])),
        [Series(str(n), [(0, 0), (1, 1)], n, has_markers=True) for n in range(6)],
    )
    assert len({entry.marker for entry in plot.legend}) == 6
