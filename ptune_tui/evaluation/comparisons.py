"""Is one contender better than another? Tests on the same rows, and what they mean in words.

Legend: N rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from ptune_tui.evaluation.bootstrap import FloatArray
from ptune_tui.results import MetricName, PairTest

IntArray = npt.NDArray[np.int64]

SIGNIFICANCE = 0.05
_MAX_EXACT_ROWS = 15
# Random signs: 9,999 times one a row, some at a time so that memory stays small.
_NUM_CHUNKS, _CHUNK_SIGNS = 99, 101
_SEED = 0
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
    first: str, second: str, metric: MetricName, scores: tuple[FloatArray, FloatArray]
) -> PairTest:
    """A paired permutation test of the mean difference.

    Args:
        first (str): Title of a line of the table.
        second (str): Of another.
        metric (MetricName): What the scores are.
        scores (tuple[FloatArray, FloatArray]): Of each row, [N], of both.
    """
    differences = scores[0] - scores[1]
    return PairTest(
        first,
        second,
        int((differences > 0).sum()),
        int((differences < 0).sum()),
        sign_flip_p(differences),
        metric,
        float(np.mean(differences)),
    )


def sign_flip_p(differences: FloatArray) -> float:
    """Two-sided p-value of a mean difference: were both alike, each row's sign would be a coin's.

    Exact where few rows differ; else by random signs, the observed ones counted among them.
    Phipson and Smyth, Permutation p-values should never be zero, Statistical Applications in
    Genetics and Molecular Biology 9 (2010).

    Args:
        differences (FloatArray): Of the rows' scores, [N].
    """
    # A row without a difference has no sign: it changes no sum.
    unequal = differences[differences != 0]
    observed = abs(float(unequal.sum()))
    # What differs only by rounding is as far from zero as what was observed.
    least = observed - 1e-9 * float(np.abs(unequal).sum())
    if len(unequal) <= _MAX_EXACT_ROWS:
        sums = _all_signs(len(unequal)) @ unequal
        return float((np.abs(sums) >= least).mean())
    random = np.random.default_rng(_SEED)
    num_as_far = 0
    for _ in range(_NUM_CHUNKS):
        signs = 1 - 2 * random.integers(2, size=(_CHUNK_SIGNS, len(unequal)), dtype=np.int8)
        num_as_far += int((np.abs(signs @ unequal) >= least).sum())
    return (1 + num_as_far) / (1 + _NUM_CHUNKS * _CHUNK_SIGNS)


def _all_signs(num_rows: int) -> IntArray:
    """Every way to give rows a sign, -1 or 1, [2**N, N]."""
    numbers = np.arange(1 << num_rows)[:, None]
    return 1 - 2 * (numbers >> np.arange(num_rows) & 1)


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
