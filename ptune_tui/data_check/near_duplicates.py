"""Prompts that are nearly the same: MinHash over pieces of five characters, then exact Jaccard.

Two normalised prompts are alike where the sets of their five-character pieces share 80 % of their
union. 32 MinHashes in 8 bands of 4 propose pairs: 98 % of those at 0.8, nearly all of those above
0.85. Of these, the ones whose MinHashes agree often enough are compared as texts, which decides.
In a band, a row is compared with the first and with the last row before it, so that the work grows
with the rows and not with their pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.column import Column
from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.key_file import KeyFile, Keys, Numbers
from ptune_tui.data_check.minhash import NUM_BANDS, NUM_HASHES, band_keys, jaccard, minhashes
from ptune_tui.data_check.normal import normalise
from ptune_tui.data_check.row_store import RowStore
from ptune_tui.data_check.wording import seen_from

SIMILARITY = 0.8
MIN_CHARACTERS = 12  # a shorter prompt has too few pieces to be alike by chance or not
MAX_CHARACTERS = 1 << 20  # the pieces of a longer one, as a set, take gigabytes
# Of 32 MinHashes, so many agree in 99.5 % of the pairs at 0.8 that share a band.
_MIN_AGREEING = 21
# Rows hashed at a time: their pieces stay in the processor's cache.
_SLICE = 1024
_PAIRS_AT_A_TIME = 1 << 15


class NearDuplicateFinder:
    """Takes MinHashes of rows as they stream by, and compares rows that share a key at the end.

    Args:
        findings (Findings): Takes what is found.
        store (RowStore): All rows.
    """

    def __init__(self, findings: Findings, store: RowStore) -> None:
        self._findings = findings
        self._store = store
        self._bands = KeyFile()
        self._signatures = Column((np.uint8, (NUM_HASHES,)))  # the low byte of each MinHash

    def close(self) -> None:
        """Delete the files of keys."""
        self._bands.close()
        self._signatures.close()

    def look(self, batch: Batch) -> None:
        """Take the MinHashes of some rows."""
        texts = batch.normal_prompts
        chosen = [
            index
            for index, text in enumerate(texts)
            if MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS
        ]
        signatures = np.zeros((len(texts), NUM_HASHES), np.uint8)
        for first in range(0, len(chosen), _SLICE):
            indices = chosen[first : first + _SLICE]
            minima = minhashes([texts[index] for index in indices])
            signatures[indices] = minima.astype(np.uint8)
            numbers = np.asarray(indices, np.uint32) + np.uint32(batch.first)
            self._bands.add(band_keys(minima).ravel(), np.repeat(numbers, NUM_BANDS))
        self._signatures.append(signatures)

    def compare(
        self,
        is_repeat: npt.NDArray[np.bool_],
        is_closed_set: bool,
        on_progress: Callable[[int], None],
    ) -> None:
        """Compare the rows that share a key, and report those that are alike.

        Args:
            is_repeat (npt.NDArray[np.bool_]): For each row [N] whether an earlier one has the same
                normalised prompt, and so stands for it.
            is_closed_set (bool): Whether the responses are labels.
            on_progress (Callable[[int], None]): Given the pairs proposed so far.
        """
        # A row is reported once within its split, and once as a leak.
        is_alike, is_leaked = is_repeat.copy(), is_repeat.copy()
        num_pairs = 0
        for keys, numbers in self._bands.sorted_parts():
            pairs = _candidates(keys, numbers, is_repeat)
            for first in range(0, len(pairs), _PAIRS_AT_A_TIME):
                some = pairs[first : first + _PAIRS_AT_A_TIME]
                for row, other in self._likely(some):
                    is_leak = self._store.split_of(row) != self._store.split_of(other)
                    is_known = is_leaked if is_leak else is_alike
                    if not is_known[row]:
                        is_known[row] = self._compare(row, other, is_closed_set)
                num_pairs += len(some)
                on_progress(num_pairs)

    def _likely(self, pairs: Keys) -> Iterator[tuple[int, int]]:
        """Those of some pairs whose MinHashes agree often enough."""
        rows, others = pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)
        left, right = self._signatures.at(rows.tolist()), self._signatures.at(others.tolist())
        is_likely = (left == right).sum(axis=1) >= _MIN_AGREEING
        return zip(rows[is_likely].tolist(), others[is_likely].tolist(), strict=True)

    def _compare(self, number: int, other_number: int, is_closed_set: bool) -> bool:
        here, other = self._store.row(number), self._store.row(other_number)
        similarity = jaccard(normalise(here.row.prompt), normalise(other.row.prompt))
        if similarity < SIMILARITY:
            return False
        is_leak = here.split != other.split
        is_other_label = is_closed_set and here.row.response != other.row.response
        answer = ", which has another label" if is_other_label else ""
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


def _candidates(keys: Keys, numbers: Numbers, is_repeat: npt.NDArray[np.bool_]) -> Keys:
    """Pairs of a row and an earlier one that share a key, packed, each pair once, by row."""
    is_first_of_text = ~is_repeat[numbers]
    keys, numbers = keys[is_first_of_text], numbers[is_first_of_text]
    if len(keys) < 2:
        return np.empty(0, np.uint64)
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
    return np.unique(pairs)


def _packed(rows: Numbers, others: Numbers) -> Keys:
    packed: Keys = (rows.astype(np.uint64) << np.uint64(32)) | others
    return packed
