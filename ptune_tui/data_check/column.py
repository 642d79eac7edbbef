"""Values of a fixed size for each row, in a temporary file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ptune_tui.data_check.scratch import ScratchFile

_CHUNK_BYTES = 4 << 20

Values = npt.NDArray[Any]


class Column:
    """Values by position; written in order, read in any.

    Args:
        dtype (npt.DTypeLike): Of one value; values of several numbers have a shape in it.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._file = ScratchFile()

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def append(self, values: Values) -> None:
        """Write values behind the others."""
        self._file.append(values.astype(self._dtype.base, copy=False).tobytes())

    def at(self, numbers: Iterable[int]) -> Values:
        """The values of some positions."""
        size = self._dtype.itemsize
        content = bytearray()
        for number in numbers:
            content += self._file.read(number * size, size)
        return np.frombuffer(content, self._dtype)

    def chunks(self) -> Iterator[Values]:
        """All values in order, some at a time."""
        size = self._dtype.itemsize
        position = 0
        while True:
            content = self._file.read(position, _CHUNK_BYTES // size * size)
            if not content:
                return
            position += len(content)
            yield np.frombuffer(content, self._dtype)
