"""The gate: does the exported graph compute what the trained model computes?

Legend: T tokens of a probe, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from export.manifest import ParityRecord
from export.precisions import Precision
from export.sampling import log_softmax
from export.session import DecoderSession

FloatArray = npt.NDArray[np.float32]
EXACT_RELATIVE_ERROR = 1e-4
MAX_KL_DIVERGENCE = 0.01


class Reference(Protocol):
    """The trained model, exact, as the gate asks it. Both answer behind the prompt."""

    def logits(self, ids: Sequence[int]) -> FloatArray:
        """Logits float32 [T, V] of a row's tokens behind the prompt."""
        ...

    def continuations(self, rows: Sequence[list[int]], num_tokens: int) -> list[list[int]]:
        """The greedy continuation of each row, without the end token."""
        ...


@dataclass(frozen=True)
class Probe:
    """One row to compare on.

    Attributes:
        ids: Its tokens.
        logits: The reference's, float32 [T, V].
        continuation: The reference's greedy tokens.
    """

    ids: list[int]
    logits: FloatArray
    continuation: list[int]


def ask_reference(reference: Reference, rows: Sequence[list[int]], num_tokens: int) -> list[Probe]:
    """The reference's answers to some rows, asked once for all precisions."""
    continuations = reference.continuations(rows, num_tokens)
    return [
        Probe(ids, reference.logits(ids), continuation)
        for ids, continuation in zip(rows, continuations, strict=True)
    ]


def measure(
    session: DecoderSession,
    prefix: FloatArray,
    probes: Sequence[Probe],
    num_tokens: int,
    end_token_id: int,
    precision: Precision,
    *,
    is_integer_grid: bool,
) -> ParityRecord:
    """Compare a graph with the reference.

    Args:
        session (DecoderSession): The graph.
        prefix (FloatArray): Keys and values of the prompt that the reference was asked behind,
            float32 [L, 2, h, P, D].
        probes (Sequence[Probe]): What the reference answered.
        num_tokens (int): Tokens of each greedy continuation.
        end_token_id (int): The token that ends a continuation.
        precision (Precision): Decides the gate.
        is_integer_grid (bool): Whether torch computed on the very codes that are shipped; else
            (NF4) the gate of `exact` is the one of `fast`.
    """
    largest_error = largest_logit = 0.0
    divergence, num_agreeing, num_positions, num_identical = 0.0, 0, 0, 0
    for probe in probes:
        session.restore(prefix)
        start = prefix.shape[3]
        got = session.forward(probe.ids, start, wanted=range(len(probe.ids)))
        largest_error = max(largest_error, float(np.abs(got - probe.logits).max()))
        largest_logit = max(largest_logit, float(np.abs(probe.logits).max()))
        divergence += kl_divergence(probe.logits, got)
        num_agreeing += int((got.argmax(-1) == probe.logits.argmax(-1)).sum())
        num_positions += len(probe.ids)
        position = start + len(probe.ids)
        tokens = _continue(session, got[-1], position, num_tokens, end_token_id)
        num_identical += tokens == probe.continuation
    relative_error = largest_error / largest_logit
    mean_divergence = divergence / num_positions
    # Written so that a NaN fails.
    if precision == "exact" and is_integer_grid:
        passed = relative_error <= EXACT_RELATIVE_ERROR and num_identical == len(probes)
    else:
        passed = mean_divergence <= MAX_KL_DIVERGENCE
    return ParityRecord(
        relative_error=relative_error,
        kl_divergence=mean_divergence,
        top1_agreement=num_agreeing / num_positions,
        identical_texts=num_identical,
        num_texts=len(probes),
        passed=bool(passed),
    )


def kl_divergence(reference: FloatArray, got: FloatArray) -> float:
    """Sum over positions of KL(reference || got) in nats, for logits [T, V]."""
    expected, found = log_softmax(reference), log_softmax(got)
    return float((np.exp(expected) * (expected - found)).sum())


def _continue(
    session: DecoderSession, logits: FloatArray, position: int, num_tokens: int, end_token_id: int
) -> list[int]:
    tokens: list[int] = []
    for _ in range(num_tokens):
        token = int(logits.argmax())
        if token == end_token_id:
            break
        tokens.append(token)
        logits = session.forward([token], position)[0]
        position += 1
    return tokens
