"""The calibration diagram: how often answers of a probability are right."""

from __future__ import annotations

import math

from ptune_tui.report.axis import linear_axis
from ptune_tui.report.plot import NUM_STYLES, Plot, Series
from ptune_tui.results import CalibrationBin, ContenderScores, Evaluation

SHOWN = ("tuned", "bundle", "base")


def calibrated(evaluation: Evaluation) -> list[ContenderScores]:
    """The contenders that the diagram compares: tuned prompt, bundle and base.

    Args:
        evaluation (Evaluation): The table.
    """
    shown = [one for one in evaluation.contenders if one.key in SHOWN and one.calibration]
    return sorted(shown, key=lambda one: SHOWN.index(one.key))


def calibration_plot(evaluation: Evaluation, styles: dict[str, int]) -> Plot | None:
    """The diagram, or None where nobody's answers have a probability.

    Args:
        evaluation (Evaluation): The table.
        styles (dict[str, int]): The style of each contender, by its title.
    """
    shown = calibrated(evaluation)
    if not shown:
        return None
    return Plot(
        key="calibration",
        title="Calibration",
        summary="; ".join(_in_words(one) for one in shown) + ".",
        x=linear_axis("probability of the answer", [0.0, 1.0]),
        y=linear_axis("share that is right", [0.0, 1.0]),
        series=[
            Series("as sure as right", [(0.0, 0.0), (1.0, 1.0)], NUM_STYLES - 1),
            *(_series(one, styles[one.title]) for one in reversed(shown)),
        ],
        caption="Points below the diagonal are answers that are surer than they are right. A "
        "larger marker stands for more rows.",
    )


def _in_words(one: ContenderScores) -> str:
    error = one.score("calibration_error")
    return one.title if error is None else f"{one.title}: calibration error {error:.3f}"


def _series(one: ContenderScores, style: int) -> Series:
    bins = [each for each in one.calibration if each.num_rows]
    total = sum(each.num_rows for each in bins)
    return Series(
        _in_words(one),
        [(each.mean_probability, each.accuracy) for each in bins],
        style,
        has_markers=True,
        titles=[_bin_in_words(each) for each in bins],
        sizes=[0.7 + 1.1 * math.sqrt(each.num_rows / total) for each in bins],
    )


def _bin_in_words(each: CalibrationBin) -> str:
    return (
        f"{each.num_rows} rows of mean probability {each.mean_probability:.2f}: "
        f"{each.accuracy:.2f} right"
    )
