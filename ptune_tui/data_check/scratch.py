"""A temporary file of bytes that are looked up in any order."""

from __future__ import annotations

import tempfile
from io import RawIOBase
from typing import cast


class ScratchFile:
    """Bytes one behind the other, without a buffer: most reads are of few bytes somewhere.

    A write or a read without a buffer may stop short, at two gigabytes or at a signal, and is then
    gone on with.
    """

    def __init__(self) -> None:
        file = tempfile.TemporaryFile(prefix="ptune-", buffering=0)  # noqa: SIM115 - see `close`
        self._file = cast(RawIOBase, file)
        self.num_bytes = 0

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def append(self, content: bytes) -> None:
        """Write bytes behind the others."""
        self._file.seek(self.num_bytes)
        left = memoryview(content)
        while left:
            num_written = self._file.write(left) or 0
            self.num_bytes += num_written
            left = left[num_written:]

    def read(self, offset: int, size: int) -> bytes:
        """At most so many bytes from a place on; fewer only where the file ends."""
        self._file.seek(offset)
        content = b""
        while len(content) < size:
            part = self._file.read(size - len(content))
            if not part:
                break
            content = content + part if content else part
        return content
