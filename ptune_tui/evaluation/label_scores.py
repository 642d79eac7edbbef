"""Scores of labels: accuracy, F1, calibration, confusion; by scikit-learn's definitions.

Legend: R resamples, N rows, C labels, K bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ptune_tui.evaluation.bootstrap import FloatArray
from ptune_tui.results import CalibrationBin, ClassScore

NUM_BINS = 15
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelOutcomes:
    """Expected and answered labels of rows.

    Attributes:
        labels: All labels; the arrays hold their numbers.
        expected: int64 [N].
        answered: int64 [N].
        probabilities: Of the answered label among all labels, float64 [N], or None.
    """

    labels: Sequence[str]
    expected: IntArray
    answered: IntArray
    probabilities: FloatArray | None = None

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        expected: Sequence[str],
        answers: Sequence[str],
        probabilities: Sequence[float] | None,
    ) -> LabelOutcomes:
        """Labels by their numbers.

        Args:
            labels (Sequence[str]): All of them.
            expected (Sequence[str]): One a row.
            answers (Sequence[str]): One a row.
            probabilities (Sequence[float] | None): Of the answers.
        """
        numbers = {label: number for number, label in enumerate(labels)}
        return cls(
            labels,
            np.array([numbers[label] for label in expected]),
            np.array([numbers[label] for label in answers]),
            None if probabilities is None else np.array(probabilities),
        )

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Whether each row's answer is the expected one, [N]."""
        right: npt.NDArray[np.bool_] = self.expected == self.answered
        return right

    def macro_f1(self, weights: FloatArray) -> FloatArray:
        """Unweighted mean F1 of the labels that occur in a resample, of weights [R, N]."""
        right, expected, answered = self._counts(weights)
        both = expected + answered
        f1_RC = 2 * right / np.maximum(both, 1)
        mean: FloatArray = f1_RC.sum(axis=1) / (both > 0).sum(axis=1)
        return mean

    def calibration_error(self, weights: FloatArray) -> FloatArray:
        """Expected calibration error of weights [R, N]: by how much certainty and accuracy differ.

        The mean over equal bins of |accuracy - mean probability|, weighted by their rows.
        """
        assert self.probabilities is not None
        gaps = self.is_right - self.probabilities
        in_bin_NK = self._bins()[:, None] == np.arange(NUM_BINS)
        gaps_RK = weights @ (in_bin_NK * gaps[:, None])
        error: FloatArray = np.abs(gaps_RK).sum(axis=1) / weights.sum(axis=1)
        return error

    def calibration(self) -> list[CalibrationBin]:
        """Certainty beside accuracy, bin by bin; empty without probabilities."""
        if self.probabilities is None:
            return []
        bins = self._bins()
        found = []
        for number in range(NUM_BINS):
            inside = bins == number
            num_rows = int(inside.sum())
            mean = float(self.probabilities[inside].mean()) if num_rows else 0.0
            right = float(self.is_right[inside].mean()) if num_rows else 0.0
            found.append(CalibrationBin(num_rows, mean, right))
        return found

    def class_scores(self) -> list[ClassScore]:
        """Precision, recall and F1 of every label; 0 where they are not defined."""
        counts = self._counts(np.ones((1, len(self.expected))))
        right, expected, answered = (part[0] for part in counts)
        return [
            ClassScore(
                label,
                precision=float(right[number] / max(1, answered[number])),
                recall=float(right[number] / max(1, expected[number])),
                f1=float(2 * right[number] / max(1, expected[number] + answered[number])),
                num_rows=int(expected[number]),
            )
            for number, label in enumerate(self.labels)
        ]

    def confusion(self) -> list[list[int]]:
        """Rows by expected and answered label."""
        size = len(self.labels)
        counts = np.bincount(self.expected * size + self.answered, minlength=size * size)
        rows: list[list[int]] = counts.reshape(size, size).tolist()
        return rows

    def _counts(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Rows of each label that are right, expected and answered, [R, C] each."""
        labels_C = np.arange(len(self.labels))
        expected_NC = self.expected[:, None] == labels_C
        answered_NC = self.answered[:, None] == labels_C
        right_NC = expected_NC & answered_NC
        return (
            weights @ right_NC.astype(np.float64),
            weights @ expected_NC.astype(np.float64),
            weights @ answered_NC.astype(np.float64),
        )

    def _bins(self) -> IntArray:
        """The bin of each row's probability, [N]; a bin holds its upper end."""
        assert self.probabilities is not None
        bins = np.ceil(self.probabilities * NUM_BINS).astype(np.int64) - 1
        return np.clip(bins, 0, NUM_BINS - 1)
