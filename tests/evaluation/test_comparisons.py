"""Intervals and tests equal scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ptune_tui.evaluation.bootstrap import Resamples, basic_interval, weighted_mean
from ptune_tui.evaluation.comparisons import (
    corrected,
    correction_in_words,
    holm,
    in_words,
    label_test,
    mcnemar_p,
    sign_flip_p,
    text_test,
)
from ptune_tui.evaluation.label_scores import LabelOutcomes
from ptune_tui.results import PairTest


def test_intervals_are_those_of_scipy_s_bootstrap() -> None:
    values = (np.random.default_rng(0).random(300) < 0.8).astype(float)
    metric = Resamples(300, 4000).metric("accuracy", weighted_mean(values))
    found = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert metric.value == values.mean()
    assert (metric.low, metric.high) == pytest.approx((found.low, found.high), abs=0.005)
    assert metric.low < metric.value < metric.high


def test_the_interval_of_a_shifted_score_is_the_basic_one_of_scipy() -> None:
    random = np.random.default_rng(5)
    certain = 0.5 + 0.5 * random.beta(3, 1, 250)
    right = random.random(250) < certain - 0.1
    answers = ["a" if one else "b" for one in right]
    outcomes = LabelOutcomes.of(["a", "b"], ["a"] * 250, answers, list(certain))
    resamples = Resamples(250, 2000)
    metric = resamples.metric("calibration_error", outcomes.calibration_error)

    def error(numbers: np.ndarray) -> float:
        counts = np.bincount(numbers.astype(int), minlength=250)
        return float(outcomes.calibration_error(counts[None].astype(float))[0])

    found = scipy.stats.bootstrap(
        (np.arange(250.0),),
        error,
        method="basic",
        n_resamples=2000,
        vectorized=False,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (metric.low, metric.high) == pytest.approx((found.low, found.high), abs=0.005)
    # Resamples lie above the score; that is their bias, not where the error of all rows lies.
    assert resamples.values(outcomes.calibration_error).mean() > metric.value
    assert metric.high - metric.value < metric.value - metric.low


def test_the_basic_interval_is_cut_to_shares_and_holds_the_score() -> None:
    assert basic_interval(0.02, np.linspace(0.03, 0.05, 101)) == (0.0, 0.02)
    assert basic_interval(0.9, np.linspace(0.7, 0.9, 101))[1] == 1.0


def test_the_interval_of_macro_f1_holds_it_where_labels_are_rare() -> None:
    shares, recalls = np.array([0.6, 0.3, 0.07, 0.02, 0.01]), np.array([0.9, 0.85, 0.8, 0.7, 0.6])
    answered = (1 - recalls)[:, None] * shares / (1 - shares)[:, None]
    np.fill_diagonal(answered, recalls)
    joint = shares[:, None] * answered
    true = (2 * joint.diagonal() / (joint.sum(axis=0) + joint.sum(axis=1))).mean()
    random = np.random.default_rng(0)
    num_held = 0
    for _ in range(100):
        cells = random.choice(25, 200, p=joint.ravel())
        outcomes = LabelOutcomes(list("abcde"), cells // 5, cells % 5)
        found = Resamples(200, 300).metric("macro_f1", outcomes.macro_f1)
        num_held += found.low <= true <= found.high
    # The basic interval holds it in about 71, one that resamples each label by itself in 65.
    assert num_held >= 88


def test_holm_is_its_step_down_procedure() -> None:
    # Worked by hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, and never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    random = np.random.default_rng(0)
    for _ in range(50):
        p_values = (random.random(random.integers(1, 7)) ** 3).tolist()
        for level in (0.01, 0.05, 0.3):
            rejected = set()
            for rank, number in enumerate(np.argsort(p_values)):
                if p_values[number] > level / (len(p_values) - rank):
                    break
                rejected.add(int(number))
            assert {n for n, p in enumerate(holm(p_values)) if p <= level} == rejected


def test_several_comparisons_are_told_by_the_corrected_p() -> None:
    tests = [
        PairTest("tuned prompt", name, 9, 2, p, difference=0.1)
        for name, p in (("x", 0.03), ("y", 0.04))
    ]
    assert correction_in_words(corrected(tests[:1])) is None
    assert in_words(tests[0]) == "The tuned prompt is better than x: 9 rows against 2, p = 0.03."
    both = corrected(tests)
    assert in_words(both[0]) == (
        "No clear difference between the tuned prompt and x: 9 rows against 2, p = 0.03 "
        "(Holm: p = 0.06)."
    )
    assert "for 2 comparisons" in str(correction_in_words(both))


def test_the_same_resamples_come_every_time_and_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure = weighted_mean(np.arange(7.0))
    at_once = Resamples(7, 50).values(measure)
    assert (Resamples(7, 50).values(measure) == at_once).all()
    assert not (Resamples(7, 50, seed=1).values(measure) == at_once).all()
    monkeypatch.setattr("ptune_tui.evaluation.bootstrap._MAX_CHUNK", 21)
    assert Resamples(7, 50).values(measure) == pytest.approx(at_once)


@pytest.mark.parametrize("counts", [(0, 0), (5, 0), (41, 12), (12, 41), (7, 7), (900, 1000)])
def test_mcnemar_is_a_binomial_test_of_the_rows_that_differ(counts: tuple[int, int]) -> None:
    first, second = counts
    expected = scipy.stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_p(first, second) == pytest.approx(expected)


def test_a_test_is_said_in_words() -> None:
    first = np.array([1.0] * 41 + [0.0] * 12 + [1.0] * 5)
    second = np.array([0.0] * 41 + [1.0] * 12 + [1.0] * 5)
    better = label_test("tuned prompt", "few-shot (8 examples)", first, second)
    assert in_words(better) == (
        "The tuned prompt is better than few-shot (8 examples): 41 rows against 12, p < 0.0001."
    )
    worse = label_test("LoRA", "base (zero-shot)", second, first)
    assert in_words(worse).startswith("LoRA is worse than the base (zero-shot): 12 rows against 41")
    same = label_test("tuned prompt", "bundle (fast)", first, first)
    assert in_words(same) == (
        "No clear difference between the tuned prompt and the bundle (fast): 0 rows against 0, "
        "p = 1.00."
    )


def scipy_s_p(first: np.ndarray, second: np.ndarray, num_resamples: int = 20_000) -> float:
    """Signs permuted by scipy; all of them where that many are not fewer."""
    found = scipy.stats.permutation_test(
        (first, second),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        n_resamples=num_resamples,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def test_free_text_is_compared_by_a_paired_permutation_test() -> None:
    random = np.random.default_rng(3)
    worse = random.random(80)
    better = worse + random.normal(0.06, 0.2, 80)
    found = text_test("a", "b", "rouge_l", (better, worse))
    assert found.p_value == pytest.approx(scipy_s_p(better, worse), abs=0.01)
    assert found.difference == pytest.approx((better - worse).mean())
    assert found.num_first_only == (better > worse).sum()
    assert text_test("b", "a", "rouge_l", (worse, better)).p_value == found.p_value
    assert text_test("a", "a", "rouge_l", (worse, worse)).p_value == 1.0
    # Random signs never make a p-value of nothing.
    assert sign_flip_p(np.ones(40)) == pytest.approx(1 / 10_000)


@pytest.mark.parametrize("num_rows", [1, 2, 5, 10, 13])
def test_of_few_rows_every_sign_is_counted(num_rows: int) -> None:
    random = np.random.default_rng(num_rows)
    for shift in (0.0, 0.3, 2.0):
        # Tenths: many sums are the same but for rounding.
        first = random.integers(0, 10, num_rows) / 10 + shift
        second = random.integers(0, 10, num_rows) / 10
        expected = scipy_s_p(first, second) if num_rows > 1 else 1.0
        assert sign_flip_p(first - second) == pytest.approx(expected)


def test_five_rows_prove_nothing() -> None:
    rows = np.array([0.9, 0.8, 0.95, 0.7, 0.85])
    test = text_test("tuned prompt", "base (zero-shot)", "rouge_l", (rows, np.zeros(5)))
    assert test.p_value == 2 / 32
    assert in_words(test).startswith("No clear difference")
    # Rows without a difference say nothing either way.
    padded = np.concatenate([rows, np.zeros(200)])
    assert sign_flip_p(padded) == 2 / 32


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_perfect_score_has_wilson_s_interval(right: float) -> None:
    measure = weighted_mean(np.full(6, right))
    found = Resamples(6, 50).metric("accuracy", measure)
    expected = scipy.stats.binomtest(int(6 * right), 6).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    # A score that is no share of the rows keeps the bootstrap.
    assert Resamples(6, 50).metric("macro_f1", measure).high == right
