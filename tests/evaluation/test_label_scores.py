"""Scores of labels equal scikit-learn's, of the rows and of every resample."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from ptune_tui.evaluation.bootstrap import weighted_mean
from ptune_tui.evaluation.label_scores import NUM_BINS, LabelOutcomes

LABELS = ["ham", "maybe", "never seen", "spam"]


@pytest.fixture
def outcomes() -> LabelOutcomes:
    random = np.random.default_rng(0)
    expected = [LABELS[number] for number in random.choice([0, 1, 3], 60, p=[0.6, 0.1, 0.3])]
    answers = [label if random.random() < 0.7 else LABELS[random.integers(4)] for label in expected]
    return LabelOutcomes.of(LABELS, expected, answers, list(random.uniform(0.25, 1.0, 60)))


def names(outcomes: LabelOutcomes) -> tuple[list[str], list[str]]:
    return (
        [LABELS[number] for number in outcomes.expected],
        [LABELS[number] for number in outcomes.answered],
    )


def test_accuracy_and_macro_f1_equal_scikit_learn_s(outcomes: LabelOutcomes) -> None:
    expected, answers = names(outcomes)
    once = np.ones((1, 60))
    found = weighted_mean(outcomes.is_right.astype(float))(once)[0]
    assert found == pytest.approx(accuracy_score(expected, answers))
    assert outcomes.macro_f1(once)[0] == pytest.approx(f1_score(expected, answers, average="macro"))


def test_a_weighted_score_is_that_of_rows_taken_so_often(outcomes: LabelOutcomes) -> None:
    expected, answers = (np.array(part) for part in names(outcomes))
    weights = np.random.default_rng(1).multinomial(60, [1 / 60] * 60, size=20).astype(float)
    # A resample without a label at all: its F1 does not count there.
    weights[0] = 60 * (np.arange(60) == 0)
    for row, found in zip(weights.astype(int), outcomes.macro_f1(weights), strict=True):
        drawn = np.repeat(np.arange(60), row)
        assert found == pytest.approx(f1_score(expected[drawn], answers[drawn], average="macro"))


def test_each_class_and_the_confusion_equal_scikit_learn_s(outcomes: LabelOutcomes) -> None:
    expected, answers = names(outcomes)
    precision, recall, f1, support = precision_recall_fscore_support(
        expected, answers, labels=LABELS, zero_division=0
    )
    for number, score in enumerate(outcomes.class_scores()):
        assert score.label == LABELS[number]
        assert score.precision == pytest.approx(precision[number])
        assert score.recall == pytest.approx(recall[number])
        assert score.f1 == pytest.approx(f1[number])
        assert score.num_rows == support[number]
    assert outcomes.confusion() == confusion_matrix(expected, answers, labels=LABELS).tolist()


def test_the_calibration_error_is_the_mean_gap_of_the_bins(outcomes: LabelOutcomes) -> None:
    assert outcomes.probabilities is not None
    error = 0.0
    for number in range(NUM_BINS):
        low, high = number / NUM_BINS, (number + 1) / NUM_BINS
        inside = [
            (float(right), probability)
            for right, probability in zip(outcomes.is_right, outcomes.probabilities, strict=True)
            if low < probability <= high
        ]
        if inside:
            right, certain = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            error += len(inside) / 60 * abs(right - certain)
    assert outcomes.calibration_error(np.ones((1, 60)))[0] == pytest.approx(error)
    bins = outcomes.calibration()
    assert sum(one.num_rows for one in bins) == 60
    rebuilt = sum(one.num_rows / 60 * abs(one.accuracy - one.mean_probability) for one in bins)
    assert rebuilt == pytest.approx(error)


def test_certain_and_always_right_is_calibrated() -> None:
    outcomes = LabelOutcomes.of(["a", "b"], ["a", "b"], ["a", "b"], [1.0, 1.0])
    assert outcomes.calibration_error(np.ones((1, 2)))[0] == 0.0
    wrong = LabelOutcomes.of(["a", "b"], ["a", "b"], ["b", "a"], [1.0, 1.0])
    assert wrong.calibration_error(np.ones((1, 2)))[0] == 1.0
