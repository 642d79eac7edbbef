"""Is one contender better than another? Tests on the same rows, and what they mean in words.

Legend: N rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from ptune_tui.evaluation.bootstrap import FloatArray, Resamples, weighted_mean
from ptune_tui.results import MetricName, PairTest

SIGNIFICANCE = 0.05
_BY: dict[MetricName, str] = {"rouge_l": " by ROUGE-L", "exact_match": " by exact match"}
_WITH_ARTICLE = ("base", "instruction", "tuned prompt", "bundle")


def mcnemar_p(num_first_only: int, num_second_only: int) -> float:
    """McNemar's exact two-sided p-value: a fair coin for each row that only one has right."""
    total = num_first_only + num_second_only
    fewer = min(num_first_only, num_second_only)
    # Exact integers: a float overflows beyond a thousand rows.
    tail = sum(math.comb(total, count) for count in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << total))


def label_test(
    first: str, second: str, first_right: FloatArray, second_right: FloatArray
) -> PairTest:
    """McNemar's exact test.

    Args:
        first (str): Title of a line of the table.
        second (str): Of another.
        first_right (FloatArray): 1 where its answer is right, [N].
        second_right (FloatArray): The other's.
    """
    first_only = int((first_right > second_right).sum())
    second_only = int((second_right > first_right).sum())
    p_value = mcnemar_p(first_only, second_only)
    difference = float((first_right - second_right).mean())
    return PairTest(first, second, first_only, second_only, p_value, "accuracy", difference)


def text_test(
    first: str,
    second: str,
    metric: MetricName,
    scores: tuple[FloatArray, FloatArray],
    resamples: Resamples,
) -> PairTest:
    """A paired bootstrap: how often a resample's mean difference has the other sign.

    Args:
        first (str): Title of a line of the table.
        second (str): Of another.
        metric (MetricName): What the scores are.
        scores (tuple[FloatArray, FloatArray]): Of each row, [N], of both.
        resamples (Resamples): Of the rows.
    """
    differences = scores[0] - scores[1]
    means = resamples.values(weighted_mean(differences))
    # One more of each, so that no p-value is smaller than the resamples can tell.
    below = (1 + int((means <= 0).sum())) / (1 + len(means))
    above = (1 + int((means >= 0).sum())) / (1 + len(means))
    return PairTest(
        first,
        second,
        int((differences > 0).sum()),
        int((differences < 0).sum()),
        min(1.0, 2 * min(below, above)),
        metric,
        float(np.mean(differences)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, by Holm's step-down method.

    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6 (1979).

    Args:
        p_values (Sequence[float]): Of all tests that are made.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[number])
        corrected[number] = min(1.0, largest)
    return corrected


def corrected(tests: Sequence[PairTest]) -> list[PairTest]:
    """The tests of a table with p-values corrected for their number; one alone as it is."""
    if len(tests) < 2:
        return list(tests)
    p_values = holm([test.p_value for test in tests])
    return [
        msgspec.structs.replace(test, corrected_p=p_value)
        for test, p_value in zip(tests, p_values, strict=True)
    ]


def correction_in_words(tests: Sequence[PairTest]) -> str | None:
    """What the corrected p-values are; None where there are none."""
    if all(test.corrected_p is None for test in tests):
        return None
    return (
        f"Holm: p corrected for {len(tests)} comparisons; by it a line is called better or worse."
    )


def in_words(test: PairTest) -> str:
    """A test as a sentence."""
    first, second = _named(test.first), _named(test.second)
    by = _BY.get(test.metric, "")
    noun = "row" if test.num_first_only == 1 else "rows"
    counts = f"{test.num_first_only} {noun} against {test.num_second_only}{by}"
    rows = f"{counts}, {_p_value(test.p_value)}"
    if test.corrected_p is not None:
        rows += f" (Holm: {_p_value(test.corrected_p)})"
    if test.decisive_p >= SIGNIFICANCE:
        return f"No clear difference between {first} and {second}: {rows}."
    better = "better" if test.difference > 0 else "worse"
    return f"{first[0].upper()}{first[1:]} is {better} than {second}: {rows}."


def _p_value(value: float) -> str:
    if value < 0.0001:
        return "p < 0.0001"
    return f"p = {value:.4f}" if value < 0.01 else f"p = {value:.2f}"


def _named(title: str) -> str:
    """A title within a sentence."""
    return f"the {title}" if title.startswith(_WITH_ARTICLE) else title
