"""How long a graph takes for an answer of a prompt's own kind, on the machine at hand.

Legend: L layers, h heads, P virtual tokens, D head size.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.gate import Gate
from export.manifest import ParityRecord
from export.precisions import Precision
from export.row_scoring import pack_limit, packs
from export.session import DecoderSession
from export.token_forest import Chain, TokenForest

FloatArray = npt.NDArray[np.float32]
_NUM_ROUNDS = 3
_MAX_ROWS = 8
_MAX_RESPONSE_TOKENS = 32
# The one before is taken unless another one takes at most this share of its time.
_CLEARLY_FASTER = 0.9
_PREFERENCE: tuple[Precision, ...] = ("fast", "throughput", "exact")


@dataclass(frozen=True)
class Timed:
    """What an answer takes.

    Attributes:
        precision: The graph.
        seconds: An answer (of labels: the mean of one alone and one of many), the median of some
            rounds.
    """

    precision: Precision
    seconds: float


def seconds_per_answer(sessions: Mapping[Precision, DecoderSession], gate: Gate) -> list[Timed]:
    """Time every graph on the gate's rows, in turns.

    Labels are timed alone, as `ptune run` scores a single text, and together, as it scores a file:
    the mean of both counts. Free text is timed as it is written: a row, then token by token.

    Args:
        sessions (Mapping[Precision, DecoderSession]): The graphs, open.
        gate (Gate): The prompt and its rows.
    """
    exact = sessions["exact"]
    prefix = exact.prefix(exact.begin(gate.prompt.prompt, []))
    rows = gate.rows[:_MAX_ROWS]
    if gate.prompt.labels is not None:
        num_tokens = 1
    else:
        num_tokens = min(gate.prompt.max_response_tokens, _MAX_RESPONSE_TOKENS)
    seconds: dict[Precision, list[float]] = {precision: [] for precision in sessions}
    for _ in range(_NUM_ROUNDS):
        for precision, session in sessions.items():
            started = time.perf_counter()
            _read_in_turn(session, prefix, rows, num_tokens)
            num_answers = len(rows)
            if gate.prompt.labels is not None:
                num_answers += len(rows)
                if session.takes_layout and prefix.shape[3]:
                    _read_together(session, prefix, rows)
                else:
                    _read_in_turn(session, prefix, rows, num_tokens)
            seconds[precision].append((time.perf_counter() - started) / num_answers)
    return [Timed(name, statistics.median(values)) for name, values in seconds.items()]


def fastest(timed: Sequence[Timed], parity: Mapping[str, ParityRecord]) -> Precision:
    """The fastest graph that passed; near ties go to `fast`, then to `throughput`.

    Args:
        timed (Sequence[Timed]): What each takes.
        parity (Mapping[str, ParityRecord]): What the gate found; `exact` passed.
    """
    seconds = {one.precision: one.seconds for one in timed if parity[one.precision].passed}
    candidates = [precision for precision in _PREFERENCE if precision in seconds]
    best = candidates[0]
    for precision in candidates[1:]:
        if seconds[precision] <= _CLEARLY_FASTER * seconds[best]:
            best = precision
    return best


def _read_in_turn(
    session: DecoderSession, prefix: FloatArray, rows: Sequence[list[int]], num_tokens: int
) -> None:
    start = prefix.shape[3]
    for row in rows:
        session.restore(prefix)
        token = int(session.forward(row, start)[0].argmax())
        for step in range(num_tokens):
            token = int(session.forward([token], start + len(row) + step)[0].argmax())


def _read_together(session: DecoderSession, prefix: FloatArray, rows: Sequence[list[int]]) -> None:
    start = prefix.shape[3]
    for pack in packs(rows, pack_limit(session.shape.context_length, start)):
        ids: list[int] = []
        chains: list[Chain] = []
        for number in pack:
            ids += [*rows[number], rows[number][-1]]  # any token stands for a label's
            chains.append(Chain(len(rows[number]) + 1))
        layout = TokenForest(start).extend(chains)
        session.restore(prefix)
        session.forward(ids, start, wanted=[-1 - n for n in range(len(pack))], layout=layout)
