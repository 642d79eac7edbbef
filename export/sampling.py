"""Choosing the next token from logits, in numpy.

Legend: V vocabulary.

The filters and their order are those of transformers' generation: repetition penalty (Keskar 2019),
temperature, top-k, top-p (Holtzman 2019), min-p (Nguyen 2024).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.errors import SamplingError

FloatArray = npt.NDArray[np.float32]
WideArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the most likely token; above, the logits are divided by it.
        top_k: Only so many of the most likely tokens; 0 for all.
        top_p: Only the most likely tokens that together have this probability.
        min_p: Only tokens with this share of the most likely one's probability.
        repetition_penalty: Logits of tokens that were there already are divided by it, negative
            ones multiplied; 1 for none.
        seed: Of the random choices.

    Raises:
        SamplingError: A value is out of its range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "temperature": (self.temperature, 0.0 <= self.temperature < float("inf"), "0 or more"),
            "top_k": (self.top_k, self.top_k >= 0, "0 or more"),
            "top_p": (self.top_p, 0.0 < self.top_p <= 1.0, "above 0 and at most 1"),
            "min_p": (self.min_p, 0.0 <= self.min_p <= 1.0, "between 0 and 1"),
            "repetition_penalty": (
                self.repetition_penalty,
                0.0 < self.repetition_penalty < float("inf"),
                "above 0",
            ),
            "seed": (self.seed, self.seed >= 0, "0 or more"),
        }
        for name, (value, is_allowed, allowed) in limits.items():
            if not is_allowed:
                raise SamplingError(f"{name} is {value}.", f"It has to be {allowed}.")


class Sampler:
    """Chooses the tokens of one answer.

    Args:
        sampling (Sampling): How.
        ids (Iterable[int]): The tokens before the answer; a repetition penalty counts them.
    """

    def __init__(self, sampling: Sampling, ids: Iterable[int] = ()) -> None:
        self.sampling = sampling
        self._random = np.random.default_rng(sampling.seed)
        self._seen = set(ids)

    def choose(self, logits: FloatArray, allowed: BoolArray | None = None) -> int:
        """The next token.

        Args:
            logits (FloatArray): float32 [V].
            allowed (BoolArray | None): bool [V], at least one true; None for every token.
        """
        logits = penalised(logits, self._seen, self.sampling.repetition_penalty)
        if allowed is not None:
            logits = np.where(allowed, logits, np.float32(-np.inf))
        if self.sampling.temperature == 0.0:
            token = int(logits.argmax())
        else:
            tokens, probabilities = candidates(logits, self.sampling)
            token = int(self._random.choice(tokens, p=probabilities))
        self._seen.add(token)
        return token


def penalised(logits: FloatArray, seen: Collection[int], penalty: float) -> FloatArray:
    """Logits with those of tokens that were there already moved down.

    Args:
        logits (FloatArray): float32 [V].
        seen (Collection[int]): Tokens; ids from V on are virtual ones and have no logit.
        penalty (float): 1 for none.
    """
    if penalty == 1.0:
        return logits
    tokens = [token for token in seen if token < len(logits)]
    changed = logits.copy()
    values = changed[tokens]
    changed[tokens] = np.where(values < 0, values * penalty, values / penalty)
    return changed


def candidates(logits: FloatArray, sampling: Sampling) -> tuple[npt.NDArray[np.intp], WideArray]:
    """The tokens that may be drawn and their probabilities, the most likely first.

    Args:
        logits (FloatArray): float32 [V].
        sampling (Sampling): With a temperature above 0.
    """
    chosen = np.arange(len(logits))
    if 0 < sampling.top_k < len(logits):
        # A sort of the whole vocabulary takes a good part of a small model's token.
        chosen = np.argpartition(-logits, sampling.top_k - 1)[: sampling.top_k]
    order = chosen[np.argsort(-logits[chosen], kind="stable")]
    scores = logits[order].astype(np.float64)
    # Divided last, so that no temperature, however low, makes the largest score infinite.
    with np.errstate(over="ignore"):
        weights = np.exp((scores - scores[0]) / sampling.temperature)
    weights /= weights.sum()
    is_kept = np.cumsum(weights) - weights < sampling.top_p
    is_kept &= weights >= sampling.min_p * weights[0]
    is_kept &= weights > 0.0
    return order[is_kept], weights[is_kept] / weights[is_kept].sum()


def log_softmax(logits: FloatArray) -> WideArray:
    """Log-probabilities in float64, any shape [.., V]."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))


def log_sum_exp(logits: FloatArray) -> FloatArray:
    """What log-probabilities are below logits, float32 [.., V] -> [.., 1]; summed in float64."""
    highest = logits.max(axis=-1, keepdims=True)
    sums = np.exp(logits - highest).sum(axis=-1, keepdims=True, dtype=np.float64)
    return np.asarray(highest + np.log(sums), np.float32)
