"""A text file in UTF-8, plain or gzip, as an open stream of bytes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from ptune_tui.errors import DataError
from ptune_tui.reading.record import RecordFault

MAX_RECORD_BYTES = 64 << 20
_BOM = b"\xef\xbb\xbf"
_OTHER_FORMATS = {
    b"\x1f\x8b": ("a gzip file", "Let its name end in `.gz`."),
    b"PAR1": ("a Parquet file", "Let its name end in `.parquet`."),
    b"ARROW1": ("an Arrow file", "Let its name end in `.arrow`."),
    b"PK\x03\x04": ("a zip archive or an Excel file", "Save it as CSV."),
    b"BZh": ("a bzip2 file", "Unpack it first."),
    b"\xfd7zXZ": ("an xz file", "Unpack it first."),
    b"\x28\xb5\x2f\xfd": ("a Zstandard file", "Unpack it first."),
}
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_DAMAGES = (gzip.BadGzipFile, EOFError, zlib.error)

ByteStream = gzip.GzipFile | BufferedReader


def is_packed(path: Path) -> bool:
    """Whether a file's name says that it is gzip."""
    return path.suffix.lower() == ".gz"


@contextmanager
def open_text(path: Path) -> Iterator[ByteStream]:
    """Open a file behind its byte order mark; what is read inside is unpacked.

    Args:
        path (Path): A text file; unpacked where its name ends in `.gz`.

    Raises:
        DataError: It is no text in UTF-8, no gzip file, or a cut or damaged one.
    """
    try:
        with gzip.open(path) if is_packed(path) else path.open("rb") as file:
            head = file.peek(8)
            _refuse_other_formats(head, path)
            if head.startswith(_BOM):
                file.read(len(_BOM))
            yield file
    except _DAMAGES as error:
        raise DataError(
            f"{path}:{_line_of_damage(path)}: the gzip file cannot be unpacked from here on: "
            f"{error}.",
            "It is cut, damaged, or no gzip file: fetch it again, or mend its name.",
        ) from None


def encoding_fault(content: bytes, source: str, line: int) -> RecordFault | None:
    """What is wrong with the encoding of some bytes, if anything is.

    Args:
        content (bytes): A line, or a record.
        source (str): The file.
        line (int): Where it begins there.
    """
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return RecordFault(
            source,
            line + content.count(b"\n", 0, error.start),
            f"byte {content[error.start]:#04x} is not UTF-8.",
            "Save the file as UTF-8.",
        )
    return None


def read_text(path: Path) -> str:
    """The whole text of a file.

    Raises:
        DataError: It is missing or not UTF-8; names the line.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}.", "Check the path.")
    with open_text(path) as file:
        content = file.read()
    if fault := encoding_fault(content, str(path), 1):
        raise fault.error()
    return content.decode("utf-8")


def _refuse_other_formats(head: bytes, path: Path) -> None:
    for magic, (name, hint) in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise DataError(f"{path}:1: this is {name}.", hint)
    if head.startswith(_WIDE_BOMS) or b"\0" in head[:4]:
        raise DataError(
            f"{path}:1: this file is UTF-16, UTF-32 or no text at all.", "Save it as UTF-8."
        )


def _line_of_damage(path: Path) -> int:
    """The line in which a gzip file ends to be readable."""
    line = 1
    with gzip.open(path) as file, suppress(*_DAMAGES):
        while some := file.read1():
            line += some.count(b"\n")
    return line
