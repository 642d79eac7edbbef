"""Loss, scores, learning rate and gradient of a run, over its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ptune_tui.events import EvaluationDone, RolledBack, StepDone
from ptune_tui.report.axis import Axis, linear_axis, value_axis
from ptune_tui.report.plot import Plot, Rule, Series, finite
from ptune_tui.run_history import RunHistory
from ptune_tui.series import Point
from ptune_tui.series import smoothed as running_mean

_SMOOTHED_SHARE = 0.02  # of all steps: what the smoothed line looks back over
_FEW_STEPS = 20


def training_plots(history: RunHistory) -> list[Plot]:
    """The plots that a run has values for.

    Args:
        history (RunHistory): Of the run.
    """
    plots = []
    if history.steps:
        plots.append(_loss(history))
    validated = [one for one in history.tuned if math.isfinite(one.accuracy)]
    if validated:
        plots.append(_scores(history, validated))
    if history.steps:
        plots += [_rate(history), _gradient(history)]
    return plots


def smoothed(points: Sequence[Point]) -> list[Point]:
    """The running mean of a curve that looks back over a share of its steps.

    Args:
        points (Sequence[Point]): Finite, in order.
    """
    window = max(5.0, len(points) * _SMOOTHED_SHARE)
    return running_mean(points, 1 - 1 / window)


def _loss(history: RunHistory) -> Plot:
    points = _over_steps(history, lambda step: step.loss)
    validated = finite([(one.step, one.loss) for one in history.tuned if one.loss is not None])
    series = [Series("training, each step", points, 0, is_faint=True)]
    shown = [y for _, y in points]
    if len(points) >= _FEW_STEPS:
        series.append(Series("training, smoothed", smoothed(points), 0))
    else:
        series = [Series("training", points, 0, has_markers=True)]
    if validated:
        series.append(Series("validation", validated, 1, has_markers=True))
        shown += [y for _, y in validated]
    last = smoothed(points)[-1][1] if points else 0.0
    return Plot(
        key="loss",
        title="Loss",
        summary=f"Training loss over {len(points)} steps, at the end about {last:.3g}.",
        x=_step_axis(history),
        y=value_axis("loss", shown),
        series=series,
        rules=_rollbacks(history),
        caption="The mean loss of the response's tokens at each step; lower is better.",
    )


def _scores(history: RunHistory, validated: Sequence[EvaluationDone]) -> Plot:
    # The last evaluation may be on more rows than those before, which are then no curve with it.
    curve = [one for one in validated if one.num_rows == validated[0].num_rows]
    final = [one for one in validated if one.num_rows != validated[0].num_rows]
    first_name = "accuracy" if curve[0].macro_f1 is not None else "exact match"
    series = [_score_series(first_name, curve, lambda one: one.accuracy, 0)]
    if curve[0].macro_f1 is not None:
        series.append(_score_series("macro-F1", curve, lambda one: one.macro_f1, 2))
    if final:
        name = f"{first_name} on all {final[-1].num_rows} rows"
        series.append(_score_series(name, final, lambda one: one.accuracy, 3, has_line=False))
    rules = []
    base = next((one for one in history.base if one.num_rows == curve[0].num_rows), None)
    shown = [y for each in series for _, y in each.points]
    if base is not None:
        rules.append(Rule(f"without the prompt: {base.accuracy:.3f}", y=base.accuracy))
        shown.append(base.accuracy)
    best = max(curve, key=lambda one: one.accuracy)
    axis = linear_axis("share of validation rows", _padded(shown), limits=(0.0, 1.0))
    start = "" if axis.low == 0.0 else " The axis does not begin at zero."
    return Plot(
        key="scores",
        title="Validation scores",
        summary=f"{first_name.capitalize()} on {curve[0].num_rows} validation rows, at best "
        f"{best.accuracy:.3f} at step {best.step}"
        + (f", against {base.accuracy:.3f} without the prompt." if base else "."),
        x=_step_axis(history),
        y=axis,
        series=series,
        rules=rules,
        caption=f"On {curve[0].num_rows} validation rows.{start}",
    )


def _rate(history: RunHistory) -> Plot:
    points = _over_steps(history, lambda step: step.learning_rate)
    peak = max((y for _, y in points), default=0.0)
    return Plot(
        key="learning-rate",
        title="Learning rate",
        summary=f"The learning rate over the steps, at its peak {peak:.3g}.",
        x=_step_axis(history),
        y=linear_axis("learning rate", [0.0, *(y for _, y in points)]),
        series=[Series("", points, 0)],
        rules=_rollbacks(history),
    )


def _gradient(history: RunHistory) -> Plot:
    points = _over_steps(history, lambda step: step.gradient_norm)
    median = sorted(y for _, y in points)[len(points) // 2] if points else 0.0
    return Plot(
        key="gradient",
        title="Gradient norm",
        summary=f"The gradient's norm before clipping, its median {median:.3g}.",
        x=_step_axis(history),
        y=value_axis("norm", [y for _, y in points]),
        series=[
            Series("each step", points, 0, is_faint=True),
            Series("smoothed", smoothed(points), 0),
        ],
        caption="Of the prompt's gradient at each step, before it is clipped.",
    )


def _over_steps(history: RunHistory, value: Callable[[StepDone], float]) -> list[Point]:
    return finite([(step.step, value(step)) for step in history.steps])


def _score_series(
    name: str,
    evaluations: Sequence[EvaluationDone],
    value: Callable[[EvaluationDone], float | None],
    style: int,
    *,
    has_line: bool = True,
) -> Series:
    found = [(one.step, value(one)) for one in evaluations]
    points = finite([(step, score) for step, score in found if score is not None])
    titles = [f"step {step:g}: {score:.3f}" for step, score in points]
    return Series(name, points, style, has_line=has_line, has_markers=True, titles=titles)


def _step_axis(history: RunHistory) -> Axis:
    steps = [one.step for one in history.steps] + [one.step for one in history.tuned]
    return linear_axis("step", [0.0, float(max(steps, default=1))], is_snug=True)


def _rollbacks(history: RunHistory) -> list[Rule]:
    backs = [event for event in history.said if isinstance(event, RolledBack)]
    return [Rule("rolled back", x=float(event.to_step)) for event in backs]


def _padded(values: Sequence[float]) -> list[float]:
    room = max(0.02, 0.15 * (max(values) - min(values)))
    return [min(values) - room, max(values) + room]
