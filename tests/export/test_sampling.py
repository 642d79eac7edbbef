"""Tokens are drawn from the distribution that transformers would draw them from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.generation import logits_process

from export.errors import SamplingError
from export.sampling import Sampler, Sampling, candidates, penalised

SETTINGS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.7, top_k=5),
    Sampling(temperature=1.3, top_p=0.6),
    Sampling(temperature=0.9, min_p=0.2),
    Sampling(temperature=0.8, top_k=9, top_p=0.9, min_p=0.05, repetition_penalty=1.4),
]
SEEN = [3, 17, 17, 40]


def theirs(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The distribution of transformers' own processors, float64 [V]."""
    scores = torch.tensor(logits, dtype=torch.float64)[None]
    steps: list[logits_process.LogitsProcessor] = []
    if sampling.repetition_penalty != 1.0:
        steps.append(logits_process.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    steps.append(logits_process.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        steps.append(logits_process.TopKLogitsWarper(sampling.top_k))
    steps.append(logits_process.TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        steps.append(logits_process.MinPLogitsWarper(sampling.min_p))
    for step in steps:
        scores = step(torch.tensor([SEEN]), scores)
    return scores[0].softmax(-1).numpy()


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_the_distribution_is_that_of_transformers(sampling: Sampling) -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        logits = random.normal(size=50).astype(np.float32)
        tokens, probabilities = candidates(
            penalised(logits, SEEN, sampling.repetition_penalty), sampling
        )
        ours = np.zeros(50)
        ours[tokens] = probabilities
        np.testing.assert_allclose(ours, theirs(logits, sampling), atol=1e-6)


def test_draws_follow_the_distribution_and_the_seed() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    sampling = Sampling(temperature=1.0, top_p=0.75, seed=5)
    sampler, again = Sampler(sampling), Sampler(sampling)
    draws = [sampler.choose(logits) for _ in range(400)]
    assert draws == [again.choose(logits) for _ in range(400)]
    assert set(draws) == {0, 1}
    assert 0.55 < draws.count(0) / 400 < 0.7


def test_a_top_k_beyond_the_vocabulary_keeps_all_of_it() -> None:
    logits = np.array([0.5, 2.0, 1.0], np.float32)
    tokens, _ = candidates(logits, Sampling(temperature=1.0, top_k=9))
    assert tokens.tolist() == [1, 2, 0]


def test_a_temperature_of_zero_takes_the_most_likely_token() -> None:
    logits = np.array([0.1, 2.0, 1.9], np.float32)
    assert Sampler(Sampling()).choose(logits) == 1
    assert Sampler(Sampling(repetition_penalty=2.0), ids=[1]).choose(logits) == 2


def test_only_allowed_tokens_are_chosen() -> None:
    logits = np.array([5.0, 1.0, 0.0], np.float32)
    allowed = np.array([False, True, True])
    assert Sampler(Sampling()).choose(logits, allowed) == 1
    warm = Sampler(Sampling(temperature=5.0))
    assert {warm.choose(logits, allowed) for _ in range(200)} == {1, 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -1.0), ("top_p", 0.0), ("top_k", -1), ("min_p", 1.5), ("seed", -3)],
)
def test_a_setting_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(SamplingError, match=f"{name} is {value}"):
        Sampling(**{name: value})  # type: ignore[arg-type]
