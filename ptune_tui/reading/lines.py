"""The lines of a text file, plain or gzip, as bytes and in constant memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from ptune_tui.errors import DataError
from ptune_tui.reading.record import RecordFault

MAX_LINE_BYTES = 64 << 20
_BOM = b"\xef\xbb\xbf"
_OTHER_FORMATS = {
    b"\x1f\x8b": "a gzip file; let its name end in `.gz`",
    b"PAR1": "a Parquet file; let its name end in `.parquet`",
    b"ARROW1": "an Arrow file; let its name end in `.arrow`",
    b"PK\x03\x04": "a zip archive or an Excel file; save it as CSV",
    b"BZh": "a bzip2 file; unpack it",
    b"\xfd7zXZ": "an xz file; unpack it",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; unpack it",
}
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


def iter_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their ends, the byte order mark left out.

    Args:
        path (Path): A text file; unpacked where its name ends in `.gz`.

    Raises:
        DataError: It is no text file in UTF-8, no gzip file or a cut one, or a line is longer than
            `MAX_LINE_BYTES`.
    """
    is_packed = path.suffix.lower() == ".gz"
    number = 0
    try:
        with gzip.open(path) if is_packed else path.open("rb") as file:
            for line in _checked(file, path):
                number += 1
                yield line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}:{number + 1}: the gzip file cannot be unpacked from here on: {error}",
            "It is cut, damaged, or no gzip file: fetch it again, or mend its name.",
        ) from None


def _checked(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Lines of an open file, after a look at the first one."""
    read_line = partial(file.readline, MAX_LINE_BYTES)
    first = read_line()
    _refuse_other_formats(first, path)
    line = first.removeprefix(_BOM)
    number = 1
    while line:
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            raise DataError(
                f"{path}:{number}: this line is longer than {MAX_LINE_BYTES >> 20} MiB.",
                "Lines end in a line feed; is this a text file?",
            )
        yield line
        number += 1
        line = read_line()


def _refuse_other_formats(first: bytes, path: Path) -> None:
    for magic, what in _OTHER_FORMATS.items():
        if first.startswith(magic):
            name, _, hint = what.partition("; ")
            raise DataError(f"{path}:1: this is {name}.", f"{hint[0].upper()}{hint[1:]}.")
    if first.startswith(_WIDE_BOMS) or b"\0" in first[:4]:
        raise DataError(
            f"{path}:1: this file is UTF-16, UTF-32 or no text at all.", "Save it as UTF-8."
        )


def encoding_fault(content: bytes, source: str, line: int) -> RecordFault | None:
    """What is wrong with the encoding of a line, if anything is.

    Args:
        content (bytes): The line.
        source (str): The file.
        line (int): Its number.
    """
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return RecordFault(
            source,
            line,
            f"byte {content[error.start]:#04x} is not UTF-8.",
            "Save the file as UTF-8.",
        )
    return None
