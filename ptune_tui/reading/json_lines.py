"""JSON Lines: one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ptune_tui.reading.json_object import (
    DECODING_ERRORS,
    decode_object,
    json_fault,
    report_repeated,
)
from ptune_tui.reading.lines import iter_lines
from ptune_tui.reading.record import OnFault, Record


def iter_json_lines(
    path: Path, report: OnFault, on_repeat: OnFault | None = None
) -> Iterator[Record]:
    """The records of a file, one a line; blank lines are passed over.

    Args:
        path (Path): The file.
        report (OnFault): Takes a line that is no object.
        on_repeat (OnFault | None): As `iter_records`.

    Raises:
        DataError: The file as a whole cannot be read on.
    """
    source = str(path)
    for number, content in enumerate(iter_lines(path), start=1):
        try:
            record = Record(decode_object(content), source, number)
            if on_repeat:
                report_repeated(content, record, on_repeat)
        except DECODING_ERRORS as error:
            if content.strip():
                report(json_fault(error, content, source, number))
            continue
        yield record
