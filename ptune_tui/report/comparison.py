"""The table of who answered how well, with a strip of the first score and its interval a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.report.axis import linear_axis, tick_text
from ptune_tui.report.plot import NUM_STYLES
from ptune_tui.report.words import ERRORS, METRIC_NAMES, MISSING, interval, p_value, score
from ptune_tui.results import (
    ContenderScores,
    Evaluation,
    Metric,
    MetricName,
    PairTest,
)

# The same contender looks the same in every chart.
_STYLES: dict[ContenderKey, int] = {
    "tuned": 0,
    "base": 1,
    "bundle": 2,
    "few_shot": 3,
    "instruction": 4,
    "lora": 5,
}
STRIP_WIDTH = 220.0
_STRIP_INSET = 14.0
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Cell:
    """One score of one contender."""

    value: str
    interval: str
    is_best: bool


@dataclass(frozen=True)
class Strip:
    """The first score of a contender and its interval, in units of a strip."""

    low: float
    value: float
    high: float
    label: str


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    title: str
    detail: str
    computed_by: str
    style: int
    is_tuned: bool
    strip: Strip | None
    cells: list[Cell]
    num_rows: int
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """The table.

    Attributes:
        columns: Names of the metrics.
        lines: One a contender.
        strip_title: What the strips show.
        strip_ticks: Places and texts of their common axis.
        findings: The tests of two contenders in sentences.
    """

    columns: list[str]
    lines: list[Line]
    strip_title: str
    strip_ticks: list[tuple[float, str]]
    findings: list[str]


def comparison(evaluation: Evaluation) -> Comparison:
    """The table of an evaluation.

    Args:
        evaluation (Evaluation): With at least one contender.
    """
    names = _metric_names(evaluation.contenders)
    main = names[0] if names else None
    mains = [_metric(one, main) for one in evaluation.contenders]
    ends = [end for metric in mains if metric for end in (metric.low, metric.high, metric.value)]
    axis = linear_axis("", ends, num_ticks=4)

    def place(value: float) -> float:
        room = STRIP_WIDTH - 2 * _STRIP_INSET
        return round(_STRIP_INSET + min(1.0, max(0.0, axis.share(value))) * room, 2)

    def strip(metric: Metric | None) -> Strip | None:
        if metric is None:
            return None
        label = f"{METRIC_NAMES[metric.name]} {score(metric.name, metric.value)}, "
        return Strip(
            place(metric.low), place(metric.value), place(metric.high), label + interval(metric)
        )

    best = {name: _best(evaluation.contenders, name) for name in names}
    lines = [
        Line(
            title=one.title,
            detail=one.detail,
            computed_by=one.computed_by,
            style=style,
            is_tuned=one.key in ("tuned", "bundle"),
            strip=strip(metric),
            cells=[_cell(_metric(one, name), best[name]) for name in names],
            num_rows=one.num_rows,
            seconds=one.seconds,
        )
        for one, metric, style in zip(
            evaluation.contenders, mains, styles(evaluation).values(), strict=True
        )
    ]
    return Comparison(
        columns=[METRIC_NAMES[name] for name in names],
        lines=lines,
        strip_title=METRIC_NAMES[main] if main else "",
        strip_ticks=[(place(tick), tick_text(tick)) for tick in axis.ticks],
        findings=findings(evaluation),
    )


def styles(evaluation: Evaluation) -> dict[str, int]:
    """The style of each contender, by its title."""
    return {one.title: _STYLES[one.key] % NUM_STYLES for one in evaluation.contenders}


def findings(evaluation: Evaluation) -> list[str]:
    """Each test of two contenders as a sentence."""
    return [
        f"“{test.first}” {_scores(test)} “{test.second}”: "
        + (
            "the difference is more than chance"
            if test.decisive_p < _SIGNIFICANT
            else "the difference may be chance"
        )
        + f" ({p_value(test.p_value)}, {_test_name(test)}{_correction(test, evaluation)})."
        for test in evaluation.tests
    ]


def _correction(test: PairTest, evaluation: Evaluation) -> str:
    if test.corrected_p is None:
        return ""
    number = len(evaluation.tests)
    return f"; {p_value(test.corrected_p)} corrected for {number} comparisons by Holm’s method"


def _scores(test: PairTest) -> str:
    """What was found, up to the second one's name."""
    if test.metric in ("accuracy", "exact_match"):
        return f"alone is right on {test.num_first_only} rows, on {test.num_second_only} rows only"
    return f"has {test.difference:+.3f} {METRIC_NAMES[test.metric]} against"


def _test_name(test: PairTest) -> str:
    return "McNemar’s exact test" if test.metric == "accuracy" else "paired permutation test"


def _metric_names(contenders: Sequence[ContenderScores]) -> list[MetricName]:
    present = {metric.name for one in contenders for metric in one.metrics}
    return [name for name in METRIC_NAMES if name in present]


def _metric(one: ContenderScores, name: MetricName | None) -> Metric | None:
    return next((metric for metric in one.metrics if metric.name == name), None)


def _best(contenders: Sequence[ContenderScores], name: MetricName) -> float | None:
    values = [metric.value for one in contenders for metric in one.metrics if metric.name == name]
    return min(values) if name in ERRORS else max(values)


def _cell(metric: Metric | None, best: float | None) -> Cell:
    if metric is None:
        return Cell(MISSING, "", False)
    return Cell(score(metric.name, metric.value), interval(metric), metric.value == best)
