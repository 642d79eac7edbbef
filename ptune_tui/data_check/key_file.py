"""Keys of rows in a temporary file, given back so that equal keys stand together."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.uint32]

_ENTRY = np.dtype([("key", "<u8"), ("number", "<u4")])
_PART_BYTES = 24 << 20  # sorted in memory at a time, about
_CHUNK_ENTRIES = (4 << 20) // _ENTRY.itemsize


class KeyFile:
    """64-bit keys with the positions of their rows, 12 bytes each, on disk."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="ptune-keys-")  # noqa: SIM115 - closed on exit
        self._num_bytes = 0

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def add(self, keys: Keys, numbers: Numbers) -> None:
        """Write keys [N] with the positions [N] of their rows."""
        entries = np.empty(len(keys), _ENTRY)
        entries["key"], entries["number"] = keys, numbers
        self._num_bytes += self._file.write(entries.tobytes())

    def sorted_parts(self) -> Iterator[tuple[Keys, Numbers]]:
        """All keys that at least two rows have, sorted by key and then in the order written.

        Equal keys are always in the same part.
        """
        num_parts = -(-self._num_bytes // _PART_BYTES)
        for part in range(num_parts):
            keys, numbers = self._entries(part, num_parts)
            order = np.argsort(keys, kind="stable")
            keys, numbers = keys[order], numbers[order]
            same = keys[1:] == keys[:-1]
            is_shared = np.zeros(len(keys), bool)
            is_shared[1:] |= same
            is_shared[:-1] |= same
            yield keys[is_shared], numbers[is_shared]

    def _entries(self, part: int, num_parts: int) -> tuple[Keys, Numbers]:
        """The entries of a part, in the order written: the file is read once for each part."""
        chosen = []
        self._file.seek(0)
        while content := self._file.read(_CHUNK_ENTRIES * _ENTRY.itemsize):
            entries = np.frombuffer(content, _ENTRY)
            # The high bits: keys are hashes, and the low ones may be what a sort groups by.
            chosen.append(entries[(entries["key"] >> np.uint64(32)) % num_parts == part])
        entries = np.concatenate(chosen)
        return entries["key"].copy(), entries["number"].copy()
