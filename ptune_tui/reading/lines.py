"""The lines of a text file, as bytes and in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ptune_tui.errors import DataError
from ptune_tui.reading.text_file import MAX_RECORD_BYTES, open_text


def iter_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their ends, the byte order mark left out.

    Args:
        path (Path): A text file; unpacked where its name ends in `.gz`.

    Raises:
        DataError: It is no text file in UTF-8, no gzip file or a cut one, or a line is longer than
            `MAX_RECORD_BYTES`.
    """
    number = 0
    with open_text(path) as file:
        for line in iter(partial(file.readline, MAX_RECORD_BYTES), b""):
            number += 1
            if len(line) == MAX_RECORD_BYTES and not line.endswith(b"\n"):
                raise DataError(
                    f"{path}:{number}: this line is longer than {MAX_RECORD_BYTES >> 20} MiB.",
                    "Lines end in a line feed; is this a text file?",
                )
            yield line
