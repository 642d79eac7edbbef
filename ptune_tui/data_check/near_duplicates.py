"""Prompts that are nearly the same: MinHash over pieces of five characters, then exact Jaccard.

Two normalised prompts are alike where the sets of their five-character pieces share 80 % of their
union. 32 MinHashes in 8 bands of 4 propose pairs (98 % of those at 0.8, nearly all of those above
0.85), the texts decide. In a band, a row is compared with the first and with the last row before
it, so that the work grows with the rows and not with their pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.key_file import KeyFile, Keys, Numbers
from ptune_tui.data_check.normal import normalise
from ptune_tui.data_check.row_store import RowStore
from ptune_tui.data_check.wording import seen_from

SIMILARITY = 0.8
PIECE = 5
MIN_CHARACTERS = 12  # a shorter prompt has too few pieces to be alike by chance or not
NUM_BANDS = 8
_ROWS_PER_BAND = 4
_NUM_HASHES = NUM_BANDS * _ROWS_PER_BAND
# Rows hashed at a time: their pieces stay in the processor's cache.
_SLICE = 1024

_Words = npt.NDArray[np.uint32]


def band_keys(texts: list[str], seed: int = 0) -> Keys:
    """Keys [N, 8] of texts: alike texts share at least one of them.

    Args:
        texts (list[str]): Normalised, each at least `PIECE` characters long.
        seed (int): Of the hash functions.
    """
    generator = np.random.default_rng(seed)
    factors = generator.integers(0, 1 << 32, _NUM_HASHES, np.uint32) | np.uint32(1)
    addends = generator.integers(0, 1 << 32, _NUM_HASHES, np.uint32)
    pieces, starts = _hashed_pieces(texts)
    minima = np.empty((len(texts), _NUM_HASHES), np.uint32)
    scratch = np.empty_like(pieces)
    for column in range(_NUM_HASHES):
        np.multiply(pieces, factors[column], out=scratch)
        np.add(scratch, addends[column], out=scratch)
        minima[:, column] = np.minimum.reduceat(scratch, starts)
    return _folded(minima)


def jaccard(left: str, right: str) -> float:
    """The share of the pieces of two texts that both have."""
    one, other = _pieces(left), _pieces(right)
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


class NearDuplicateFinder:
    """Takes keys of rows as they stream by, and compares those that share one at the end.

    Args:
        findings (Findings): Takes what is found.
        store (RowStore): All rows.
        bands (KeyFile): Takes the keys.
    """

    def __init__(self, findings: Findings, store: RowStore, bands: KeyFile) -> None:
        self._findings = findings
        self._store = store
        self._bands = bands

    def look(self, batch: Batch) -> None:
        """Take the keys of some rows."""
        chosen = [
            (batch.first + index, text)
            for index, text in enumerate(batch.normal_prompts)
            if len(text) >= MIN_CHARACTERS
        ]
        for first in range(0, len(chosen), _SLICE):
            numbers, texts = zip(*chosen[first : first + _SLICE], strict=True)
            keys = band_keys(list(texts))
            rows = np.repeat(np.asarray(numbers, np.uint32), NUM_BANDS)
            self._bands.add(keys.ravel(), rows)

    def compare(self, is_repeat: npt.NDArray[np.bool_], on_progress: Callable[[int], None]) -> None:
        """Compare the rows that share a key, and report those that are alike.

        Args:
            is_repeat (npt.NDArray[np.bool_]): For each row [N] whether an earlier one has the same
                normalised prompt, and so stands for it.
            on_progress (Callable[[int], None]): Given the pairs compared so far.
        """
        is_found = is_repeat.copy()
        num_pairs = 0
        for keys, numbers in self._bands.sorted_parts():
            for row, other in _candidates(keys, numbers, is_repeat):
                if not is_found[row]:
                    is_found[row] = self._compare(row, other)
                    num_pairs += 1
                    if num_pairs % 4096 == 0:
                        on_progress(num_pairs)

    def _compare(self, number: int, other_number: int) -> bool:
        here, other = self._store.row(number), self._store.row(other_number)
        similarity = jaccard(normalise(here.row.prompt), normalise(other.row.prompt))
        if similarity < SIMILARITY:
            return False
        is_leak = here.split != other.split
        answer = "" if here.row.response == other.row.response else ", answered otherwise"
        where = f" of {other.split}" if is_leak else ""
        self._findings.add(
            "split-overlap-near" if is_leak else "near-duplicate",
            here.split,
            number,
            here.row,
            f"{100 * similarity:.0f} % the same prompt as {seen_from(other.row, here.row)}"
            f"{where}{answer}.",
        )
        return True


def _candidates(
    keys: Keys, numbers: Numbers, is_repeat: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, int]]:
    """Pairs of a row and an earlier one that share a key, each pair once, by row."""
    is_first_of_text = ~is_repeat[numbers]
    keys, numbers = keys[is_first_of_text], numbers[is_first_of_text]
    if len(keys) < 2:
        return
    follows = np.r_[False, keys[1:] == keys[:-1]]
    index = np.arange(len(keys))
    first = np.maximum.accumulate(np.where(follows, 0, index))
    later = index[follows]
    pairs = np.concatenate(
        [
            _packed(numbers[later], numbers[first[later]]),
            _packed(numbers[later], numbers[later - 1]),
        ]
    )
    for pair in np.unique(pairs):
        yield int(pair) >> 32, int(pair) & 0xFFFFFFFF


def _packed(rows: Numbers, others: Numbers) -> Keys:
    packed: Keys = (rows.astype(np.uint64) << np.uint64(32)) | others
    return packed


def _pieces(text: str) -> set[str]:
    return {text[start : start + PIECE] for start in range(len(text) - PIECE + 1)}


def _hashed_pieces(texts: list[str]) -> tuple[_Words, npt.NDArray[np.int64]]:
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


def _mixed(words: _Words) -> _Words:
    """The last steps of MurmurHash3: every bit of the input changes half of the output's."""
    words ^= words >> np.uint32(16)
    words *= np.uint32(0x85EBCA6B)
    words ^= words >> np.uint32(13)
    words *= np.uint32(0xC2B2AE35)
    words ^= words >> np.uint32(16)
    return words


def _folded(minima: _Words) -> Keys:
    """One key of each four minima [N, 32] -> [N, 8], other bands having other keys."""
    grouped: npt.NDArray[Any] = minima.reshape(-1, NUM_BANDS, _ROWS_PER_BAND).astype(np.uint64)
    keys: Keys = np.tile(np.arange(1, NUM_BANDS + 1, dtype=np.uint64), (len(minima), 1))
    for column in range(_ROWS_PER_BAND):
        keys = (keys ^ grouped[:, :, column]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys
