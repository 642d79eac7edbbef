"""CSV and TSV with a header line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from ptune_tui.errors import DataError
from ptune_tui.reading.lines import iter_lines
from ptune_tui.reading.record import OnFault, Record, RecordFault
from ptune_tui.reading.text_file import MAX_RECORD_BYTES, encoding_fault

_LONE_RETURN = re.compile(r"(?<=\r)(?!\n)")


def iter_table(path: Path, delimiter: str, report: OnFault) -> Iterator[Record]:
    """The records of a table; blank lines are passed over.

    Args:
        path (Path): The file.
        delimiter (str): What stands between two fields.
        report (OnFault): Takes a row that cannot be read.

    Raises:
        DataError: The header, or the file as a whole, cannot be read.
    """
    csv.field_size_limit(MAX_RECORD_BYTES)  # the module's own 128 KiB refuses long documents
    lines = _TextLines(path, report)
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        lines.fault = None
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = _csv_fault(error, str(path), line, reader.line_num)
            if header is None:
                raise fault.error() from None
            report(fault)
            continue
        if lines.fault and header is None:
            raise lines.fault.error()
        is_blank = len(values) < 2 and not "".join(values).strip()
        if lines.fault or is_blank:
            continue
        if header is None:
            header = values
            _check_header(header, path, line)
        elif len(values) != len(header):
            report(
                RecordFault(
                    str(path),
                    line,
                    f"this row has {_fields(len(values))}, the header {len(header)}.",
                    "Put text that holds the separator or a line break in quotation marks.",
                )
            )
        else:
            yield Record(dict(zip(header, values, strict=True)), str(path), line)


class _TextLines:
    """Lines as text, also those that end in a carriage return alone.

    Attributes:
        fault: The last one reported since it was set to None.
    """

    def __init__(self, path: Path, report: OnFault) -> None:
        self.path = path
        self.report = report
        self.fault: RecordFault | None = None

    def __iter__(self) -> Iterator[str]:
        number = 0
        for content in iter_lines(self.path):
            number += 1
            if fault := self._fault(content, number):
                self.report(fault)
                self.fault = fault
            text = content.decode("utf-8", "replace")
            if "\r" not in text[:-2]:
                yield text
                continue
            pieces = [piece for piece in _LONE_RETURN.split(text) if piece]
            number += len(pieces) - 1
            yield from pieces

    def _fault(self, content: bytes, line: int) -> RecordFault | None:
        if b"\0" in content:
            return RecordFault(
                str(self.path),
                line,
                "this line holds a NUL byte.",
                "The file is damaged or not UTF-8 text.",
            )
        return None if content.isascii() else encoding_fault(content, str(self.path), line)


def _check_header(header: list[str], path: Path, line: int) -> None:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{path}:{line}: the header has the column `{twice}` twice.", "Rename one of them."
        )
    other = next((mark for mark in ";\t|" if len(header) == 1 and mark in header[0]), None)
    if other is not None:
        raise DataError(
            f"{path}:{line}: the header is one column, {header[0]!r}.",
            f"Fields are separated by commas in `.csv` and by tabs in `.tsv`, not by {other!r}.",
        )


def _csv_fault(error: csv.Error, source: str, line: int, last: int) -> RecordFault:
    """A row that cannot be read, with the lines that an open quotation mark took into it."""
    swallowed = f" Lines {line} to {last} are lost with it." if last > line else ""
    return RecordFault(
        source,
        line,
        f"this row is not CSV: {error}.{swallowed}",
        "Check the quotation marks from here on; one inside quoted text is written twice.",
    )


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"
