"""Choosing the next token from logits, in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the most likely token; above, the logits are divided by it.
        top_p: Only the most likely tokens that together have this probability.
        seed: Of the random choices.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


def log_softmax(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Log-probabilities in float64, any shape [.., V]."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))


def choose(logits: FloatArray, sampling: Sampling, random: np.random.Generator) -> int:
    """The next token of logits float32 [V]."""
    if sampling.temperature == 0.0:
        return int(logits.argmax())
    probabilities = np.exp(log_softmax(logits / np.float32(sampling.temperature)))
    order = np.argsort(-probabilities)
    before = np.cumsum(probabilities[order]) - probabilities[order]
    kept = order[before < sampling.top_p]
    weights = probabilities[kept] / probabilities[kept].sum()
    return int(random.choice(kept, p=weights))
