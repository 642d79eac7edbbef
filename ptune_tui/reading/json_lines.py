"""JSON Lines: one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ptune_tui.reading.json_object import DECODING_ERRORS, decode_object, json_fault
from ptune_tui.reading.lines import iter_lines
from ptune_tui.reading.record import OnFault, Record


def iter_json_lines(path: Path, report: OnFault) -> Iterator[Record]:
    """The records of a file, one a line; blank lines are passed over.

    Args:
        path (Path): The file.
        report (OnFault): Takes a line that is no object.

    Raises:
        DataError: The file as a whole cannot be read on.
    """
    source = str(path)
    for number, content in enumerate(iter_lines(path), start=1):
        try:
            fields = decode_object(content)
        except DECODING_ERRORS as error:
            if content.strip():
                report(json_fault(error, content, source, number))
            continue
        yield Record(fields, source, number)
