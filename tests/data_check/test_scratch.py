"""Temporary files whose writes and reads stop short."""

from __future__ import annotations

import io
from contextlib import closing

import pytest

from ptune_tui.data_check.scratch import ScratchFile


class Short(io.FileIO):
    """A file that takes and gives at most three bytes at a time."""

    def write(self, content: object) -> int:
        return super().write(memoryview(content)[:3])  # type: ignore[call-overload]

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(3, size or 0))


def test_nothing_is_lost_where_a_write_or_a_read_stops_short(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tempfile.TemporaryFile", lambda **_: Short(f"{tmp_path}/scratch", mode="w+")
    )
    with closing(ScratchFile()) as file:
        file.append(b"0123456789")
        file.append(b"abcdefgh")
        assert file.num_bytes == 18
        assert file.read(8, 6) == b"89abcd"
        assert file.read(16, 9) == b"gh"
