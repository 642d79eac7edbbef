"""Scores of predictions, by scikit-learn's definitions; torch-free and without scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence


def accuracy(expected: Sequence[str], answers: Sequence[str]) -> float:
    """Share of equal pairs; for free text this is exact match, white space around it ignored."""
    num_equal = sum(
        left.strip() == right.strip() for left, right in zip(expected, answers, strict=True)
    )
    return num_equal / len(expected)


def macro_f1(expected: Sequence[str], answers: Sequence[str]) -> float:
    """Unweighted mean of the F1 scores of all labels that occur in either."""
    labels = sorted({*expected, *answers})
    return sum(_f1(label, expected, answers) for label in labels) / len(labels)


def _f1(label: str, expected: Sequence[str], answers: Sequence[str]) -> float:
    pairs = list(zip(expected, answers, strict=True))
    num_right = sum(left == right == label for left, right in pairs)
    num_named = sum(left == label for left, _ in pairs) + sum(right == label for _, right in pairs)
    return 2 * num_right / num_named if num_named else 0.0
