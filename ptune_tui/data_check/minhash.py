"""MinHash: few numbers for a text that agree as often as two texts have pieces in common.

Shapes: N texts, K hash functions, B bands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

PIECE = 5  # characters
NUM_BANDS = 8
ROWS_PER_BAND = 4
NUM_HASHES = NUM_BANDS * ROWS_PER_BAND
_SEED = 0  # of the hash functions

Words = npt.NDArray[np.uint32]
Keys = npt.NDArray[np.uint64]


def minhashes(texts: list[str]) -> Words:
    """For each text [N, K], the least hash of its pieces under each hash function.

    Args:
        texts (list[str]): Each at least `PIECE` characters long.
    """
    generator = np.random.default_rng(_SEED)
    factors = generator.integers(0, 1 << 32, NUM_HASHES, np.uint32) | np.uint32(1)
    addends = generator.integers(0, 1 << 32, NUM_HASHES, np.uint32)
    pieces, starts = _hashed_pieces(texts)
    minima = np.empty((len(texts), NUM_HASHES), np.uint32)
    scratch = np.empty_like(pieces)
    for column in range(NUM_HASHES):
        np.multiply(pieces, factors[column], out=scratch)
        np.add(scratch, addends[column], out=scratch)
        minima[:, column] = np.minimum.reduceat(scratch, starts)
    return minima


def band_keys(minima: Words) -> Keys:
    """One key of each four minima [N, K] -> [N, B]; no band has keys of another one."""
    grouped: npt.NDArray[Any] = minima.reshape(-1, NUM_BANDS, ROWS_PER_BAND).astype(np.uint64)
    keys: Keys = np.tile(np.arange(1, NUM_BANDS + 1, dtype=np.uint64), (len(minima), 1))
    for column in range(ROWS_PER_BAND):
        keys = (keys ^ grouped[:, :, column]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def jaccard(left: str, right: str) -> float:
    """The share of the pieces of two texts that both have."""
    one, other = _pieces(left), _pieces(right)
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def _pieces(text: str) -> set[str]:
    return {text[start : start + PIECE] for start in range(len(text) - PIECE + 1)}


def _hashed_pieces(texts: list[str]) -> tuple[Words, npt.NDArray[np.int64]]:
    """Hashes of all pieces of all texts, and where each text's begin."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    letters = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    hashes = letters[: len(letters) - PIECE + 1].copy()
    for offset in range(1, PIECE):
        hashes *= np.uint32(0x01000193)
        hashes ^= letters[offset : len(letters) - PIECE + 1 + offset]
    is_inside = np.ones(len(hashes) + PIECE - 1, bool)
    for offset in range(1, PIECE):
        is_inside[np.cumsum(lengths) - offset] = False
    hashes = _mixed(hashes[is_inside[: len(hashes)]])
    counts = lengths - (PIECE - 1)
    return hashes, np.cumsum(counts) - counts


def _mixed(words: Words) -> Words:
    """The last steps of MurmurHash3: every bit of the input changes half of the output's."""
    words ^= words >> np.uint32(16)
    words *= np.uint32(0x85EBCA6B)
    words ^= words >> np.uint32(13)
    words *= np.uint32(0xC2B2AE35)
    words ^= words >> np.uint32(16)
    return words
