"""A power law through the points of a learning curve. Torch-free.

`score = ceiling - gain * rows ** -power`, fitted by weighted least squares as in Figueroa et al.
2012, "Predicting sample size required for classification performance": larger training sets weigh
more, since the small ones scatter more and lie outside the law's reach.

For a given power the law is linear in ceiling and gain, whose bounded least squares have a closed
form; the power is searched on a grid that zooms in. So there is no start to choose and no local
minimum to fall into.

Legend: B fits at once, G powers of the grid, N points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptune_tui.results import LearningFit, LearningPoint

Floats = NDArray[np.float64]

NUM_PARAMETERS = 3
LOWEST_POWER, HIGHEST_POWER = 0.02, 3.0
_GRID_SIZE = 160
_NUM_ZOOMS = 6
_NUM_SAMPLES = 1000


@dataclass(frozen=True)
class PowerLaws:
    """Laws of one form, one a fit.

    Attributes:
        ceiling: Score of endless rows, at most 1, [B].
        gain: At least 0, [B].
        power: [B].
    """

    ceiling: Floats
    gain: Floats
    power: Floats

    def at(self, rows: Floats | float) -> Floats:
        """Scores [B, N] at numbers of rows [N], or [B] at one number."""
        found: Floats = self.ceiling[:, None] - self.gain[:, None] * np.atleast_1d(
            np.asarray(rows, dtype=np.float64)
        ) ** (-self.power[:, None])
        return found[:, 0] if np.ndim(rows) == 0 else found


def is_enough(points: Sequence[LearningPoint]) -> bool:
    """Whether a law can be fitted and its scatter seen: three sizes and one point more."""
    return len({point.num_rows for point in points}) >= NUM_PARAMETERS < len(points)


def fit_points(points: Sequence[LearningPoint], num_validation_rows: int) -> LearningFit | None:
    """The law through some points, and what it says of twice the most rows.

    The interval is a parametric bootstrap of 1000 samples: noise around the law, as large as the
    points' own scatter and at least as large as the standard error of a score on so many validation
    rows, and the law fitted again. The scatter of one more training comes on top.

    Args:
        points (Sequence[LearningPoint]): In any order.
        num_validation_rows (int): Rows that each score was taken on.

    Returns:
        None where the points are too few, see `is_enough`.
    """
    if not is_enough(points):
        return None
    rows = np.array([point.num_rows for point in points], dtype=np.float64)
    scores = np.array([point.score for point in points], dtype=np.float64)
    weights = size_weights(rows)
    law = fit_laws(rows, scores[None], weights)
    fitted = law.at(rows)[0]
    num_free = len(points) - NUM_PARAMETERS
    scatter = float(np.sqrt((weights * (scores - fitted) ** 2).sum() / num_free))
    # Add-one smoothing: no number of rows that are all right makes a score certain.
    chance = (np.clip(fitted, 0.0, 1.0) * num_validation_rows + 1.0) / (num_validation_rows + 2.0)
    noise = np.maximum(
        scatter / np.sqrt(weights), np.sqrt(chance * (1.0 - chance) / num_validation_rows)
    )
    generator = np.random.default_rng(0)
    drawn = fitted + noise * generator.standard_normal((_NUM_SAMPLES, len(points)))
    doubled_rows = 2 * int(rows.max())
    sampled = fit_laws(rows, np.clip(drawn, 0.0, 1.0), weights).at(float(doubled_rows))
    sampled = sampled + scatter * generator.standard_normal(_NUM_SAMPLES)
    low, high = np.quantile(np.clip(sampled, 0.0, 1.0), [0.025, 0.975])
    doubled = float(law.at(float(doubled_rows))[0])
    return LearningFit(
        ceiling=float(law.ceiling[0]),
        gain=float(law.gain[0]),
        power=float(law.power[0]),
        doubled_rows=doubled_rows,
        doubled_score=doubled,
        low=min(float(low), doubled),
        high=max(float(high), doubled),
    )


def score_at(fit: LearningFit, num_rows: float) -> float:
    """What a fitted law says of a number of rows."""
    return fit.ceiling - fit.gain * math.pow(num_rows, -fit.power)


def size_weights(rows: Floats) -> Floats:
    """The weight of each point [N]: the rank of its size over the number of sizes."""
    sizes = np.unique(rows)
    weights: Floats = (np.searchsorted(sizes, rows) + 1.0) / len(sizes)
    return weights


def fit_laws(rows_N: Floats, scores_BN: Floats, weights_N: Floats) -> PowerLaws:
    """The law of least weighted squares through each line of scores.

    Args:
        rows_N (Floats): Rows of each point.
        scores_BN (Floats): Scores from 0 to 1, one fit a line.
        weights_N (Floats): Of the squares.
    """
    powers = np.geomspace(LOWEST_POWER, HIGHEST_POWER, _GRID_SIZE)
    powers_BG = np.broadcast_to(powers, (len(scores_BN), _GRID_SIZE))
    ratio = powers[1] / powers[0]
    for _ in range(_NUM_ZOOMS):
        ceiling, gain, squares = _bounded(rows_N, scores_BN, weights_N, powers_BG)
        best_B = squares.argmin(axis=1)
        picked = np.arange(len(scores_BN)), best_B
        found = PowerLaws(ceiling[picked], gain[picked], powers_BG[picked])
        # Between the neighbours of the best; a few steps are enough from here on.
        steps = np.linspace(-1.0, 1.0, 9)
        powers_BG = np.clip(
            found.power[:, None] * ratio ** steps[None], LOWEST_POWER, HIGHEST_POWER
        )
        ratio = ratio ** (steps[1] - steps[0])
    first = float(rows_N.min())
    return PowerLaws(found.ceiling, found.gain * first**found.power, found.power)


def _bounded(
    rows_N: Floats, scores_BN: Floats, weights_N: Floats, powers_BG: Floats
) -> tuple[Floats, Floats, Floats]:
    """Ceiling, gain (of rows in units of the fewest) and squares for given powers, [B, G] each."""
    units_N = rows_N / rows_N.min()
    falls_BGN = units_N ** (-powers_BG[:, :, None])
    shares_N = weights_N / weights_N.sum()
    scores_B1N = scores_BN[:, None, :]
    mean_fall = (shares_N * falls_BGN).sum(-1)
    mean_score = (shares_N * scores_B1N).sum(-1)
    centred = falls_BGN - mean_fall[..., None]
    gain = -(shares_N * centred * scores_B1N).sum(-1) / (shares_N * centred**2).sum(-1)
    ceiling = mean_score + gain * mean_fall
    is_inside = (gain >= 0.0) & (ceiling <= 1.0)

    def squares(ceiling: Floats, gain: Floats) -> Floats:
        error = scores_B1N - ceiling[..., None] + gain[..., None] * falls_BGN
        found: Floats = (weights_N * error**2).sum(-1)
        return found

    # On the edges: a ceiling of 1, or no gain at all.
    top_gain = (shares_N * (1.0 - scores_B1N) * falls_BGN).sum(-1) / (shares_N * falls_BGN**2).sum(
        -1
    )
    top = np.ones_like(gain)
    flat = np.broadcast_to(mean_score, gain.shape)
    is_top = squares(top, top_gain) <= squares(flat, np.zeros_like(gain))
    ceiling = np.where(is_inside, ceiling, np.where(is_top, top, flat))
    gain = np.where(is_inside, gain, np.where(is_top, top_gain, 0.0))
    return ceiling, gain, squares(ceiling, gain)
