"""What a learning curve says of more data, in one sentence. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from ptune_tui.curve_fit import NUM_PARAMETERS, score_at
from ptune_tui.results import LearningFit, LearningPoint

# An interval wider than this says too little to act on; a smaller gain is hardly one.
_TOO_WIDE = 0.10
_HARDLY = 0.005


def verdict(points: Sequence[LearningPoint], fit: LearningFit | None) -> str:
    """The sentence under the curve.

    Args:
        points (Sequence[LearningPoint]): What was measured.
        fit (LearningFit | None): The law through them, where they are enough.
    """
    if not points:
        return "Nothing was measured yet."
    if fit is None:
        sizes = len({point.num_rows for point in points})
        return (
            f"Too few points to say what more data would give: {counted(len(points), 'point')} of "
            f"{counted(sizes, 'size')}; {NUM_PARAMETERS + 1} points of {NUM_PARAMETERS} sizes are "
            "the least."
        )
    most = max(point.num_rows for point in points)
    now = score_at(fit, most)
    doubled = f"twice the data ({fit.doubled_rows:,} rows)"
    interval = f"{fit.low:.3f} to {fit.high:.3f}"
    if fit.high - fit.low > _TOO_WIDE:
        return (
            f"Too noisy to say: {doubled} would give something between {fit.low:.2f} and "
            f"{fit.high:.2f}; the curve is at {now:.2f} with {most:,} rows. More seeds "
            "(`--seeds 3`) or more validation rows would narrow it."
        )
    more = fit.doubled_score - now
    gives = f"{doubled} would give about {fit.doubled_score:.3f} ({interval})"
    than = f"than the {now:.3f} of the curve at {most:,} rows"
    if more < _HARDLY:
        hardly = "With these settings more data would hardly help"
        return f"{hardly}: {gives}, {_points(more)} more {than}."
    sure = "" if fit.low > now else ", and it may be nothing"
    return f"{gives[0].upper()}{gives[1:]}: {_points(more)} more {than}{sure}."


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where there is more than one or none."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _points(share: float) -> str:
    """A difference of two shares in points."""
    text = f"{100 * share:.1f}".removesuffix(".0")
    return f"{text} point" if text == "1" else f"{text} points"
