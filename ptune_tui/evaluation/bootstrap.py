"""Bootstrap intervals: the same seeded resamples of the rows for every score and every contender.

Legend: R resamples, N rows.

A resample is how often it takes each row, so that a score is a function of weights: with every
weight 1 it is the score itself, and of a matrix of weights it is the score of each resample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ptune_tui.results import Metric, MetricName

FloatArray = npt.NDArray[np.float64]
# Float64 [R, N] of weights to float64 [R] of scores.
Measure = Callable[[FloatArray], FloatArray]

COVERAGE = 0.95
_SHARES: tuple[MetricName, ...] = ("accuracy", "exact_match")
# A sum of absolute gaps: chance makes it larger, so a resample's is larger than that of the rows.
_BIASED: tuple[MetricName, ...] = ("calibration_error",)
_MAX_CHUNK = 4_000_000  # weights that are held at a time


@dataclass(frozen=True)
class Resamples:
    """Rows drawn with replacement, as often as there are rows.

    Attributes:
        num_rows: N.
        num_resamples: R.
        seed: Of the draws.
    """

    num_rows: int
    num_resamples: int = 2000
    seed: int = 0

    def values(self, measure: Measure) -> FloatArray:
        """A score of each resample, float64 [R]."""
        return np.concatenate([measure(weights) for weights in self._chunks()])

    def metric(self, name: MetricName, measure: Measure) -> Metric:
        """A score of the rows with its percentile interval.

        A share of rows that is 0 or 1 is so in every resample, which says nothing of other rows:
        it has Wilson's interval. A score that resamples shift has the basic interval.

        Args:
            name (MetricName): What to call it.
            measure (Measure): The score of weighted rows.
        """
        value = float(measure(np.ones((1, self.num_rows)))[0])
        if name in _SHARES and value in (0.0, 1.0):
            low, high = wilson_interval(value, self.num_rows)
        elif name in _BIASED:
            low, high = basic_interval(value, self.values(measure))
        else:
            low, high = interval(self.values(measure))
        return Metric(name, value, low, high)

    def _chunks(self) -> Iterator[FloatArray]:
        """Weights [r, N] of some resamples after the other, always the same ones."""
        random = np.random.default_rng(self.seed)
        size = max(1, _MAX_CHUNK // self.num_rows)
        for first in range(0, self.num_resamples, size):
            num = min(size, self.num_resamples - first)
            drawn = random.integers(self.num_rows, size=(num, self.num_rows))
            drawn += self.num_rows * np.arange(num)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=num * self.num_rows)
            yield counts.reshape(num, self.num_rows).astype(np.float64)


def interval(values: FloatArray) -> tuple[float, float]:
    """The percentile interval of resampled scores."""
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def basic_interval(value: float, values: FloatArray) -> tuple[float, float]:
    """The basic (reverse percentile) interval of a score from 0 to 1.

    A resample differs from the rows as the rows do from all rows there could be, so the percentile
    interval is mirrored at the score: what shifts resamples one way then shifts the interval the
    other way. Davison and Hinkley, Bootstrap Methods and their Application (1997), equation 5.6.
    It is cut to 0 and 1 and, where the shift is large, widened to hold the score.

    Args:
        value (float): The score of the rows.
        values (FloatArray): Of resamples.
    """
    low, high = interval(values)
    return max(0.0, min(value, 2 * value - high)), min(1.0, max(value, 2 * value - low))


def wilson_interval(share: float, num_rows: int) -> tuple[float, float]:
    """Wilson's score interval of a share of rows.

    Args:
        share (float): 0 to 1.
        num_rows (int): Of how many.
    """
    z = NormalDist().inv_cdf((1 + COVERAGE) / 2)
    shrunk = num_rows / (num_rows + z * z)
    centre = shrunk * share + (1 - shrunk) / 2
    half = shrunk * z * math.sqrt(share * (1 - share) / num_rows + (z / (2 * num_rows)) ** 2)
    return max(0.0, centre - half), min(1.0, centre + half)


def weighted_mean(values: FloatArray) -> Measure:
    """The mean of a value of each row [N], as a measure."""
    return lambda weights: weights @ values / weights.sum(axis=1)
