"""How the report says things: names of metrics, numbers, times, and texts of unknown origin."""

from __future__ import annotations

import math
import time

from ptune_tui.results import Metric, MetricName

METRIC_NAMES: dict[MetricName, str] = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "calibration_error": "calibration error",
    "exact_match": "exact match",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "chrf": "chrF",
}
# Where less is better.
ERRORS: frozenset[MetricName] = frozenset(("calibration_error",))
OF_HUNDRED: frozenset[MetricName] = frozenset(("bleu", "chrf"))
MISSING = "–"
_NEVER_SHOWN = (
    range(0x80, 0xA0),  # the other half of the control characters
    range(0x202A, 0x202F),  # what would turn the line around,
    range(0x2066, 0x206A),  # or hide that it is turned
    range(0xD800, 0xE000),  # halves of characters
)


def score(metric: MetricName, value: float) -> str:
    """A score with the digits that it has."""
    if not math.isfinite(value):
        return MISSING
    return f"{value:.1f}" if metric in OF_HUNDRED else f"{value:.3f}"


def interval(metric: Metric) -> str:
    """The interval of a score."""
    return f"{score(metric.name, metric.low)} to {score(metric.name, metric.high)}"


def duration(seconds: float) -> str:
    """A time span."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def moment(when: float) -> str:
    """A point in time, in the zone of this machine."""
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(when))


def number_of_bytes(count: float) -> str:
    """A size."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def grouped(count: float) -> str:
    """A whole number in groups of three."""
    return f"{count:,.0f}".replace(",", "\u202f")


def p_value(value: float) -> str:
    """A probability of chance."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def shown(text: str, limit: int = 400) -> str:
    """A text of unknown origin: cut, and with its control characters made visible.

    Args:
        text (str): Of a row, a label or a message.
        limit (int): Longest text that is shown whole.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    code = ord(character)
    if character in "\n\t":
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return "�" if any(code in part for part in _NEVER_SHOWN) else character
