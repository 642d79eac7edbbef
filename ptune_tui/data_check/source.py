"""The files of a check as batches of rows; what is no row is a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ptune_tui.config import DataConfig
from ptune_tui.data_check.report import Split
from ptune_tui.errors import DataError, EmptyFieldError
from ptune_tui.reading.mapping import recognise
from ptune_tui.reading.record import Record, RecordFault
from ptune_tui.reading.records import iter_records
from ptune_tui.rows import Row


@dataclass(frozen=True)
class SplitFile:
    """A file and what it is for.

    Attributes:
        split: What for.
        path: Where it is.
    """

    split: Split
    path: Path


@dataclass(frozen=True)
class NoRow:
    """What stands where a row should.

    Attributes:
        source: The file.
        line: The place there.
        message: What is wrong, one sentence.
        is_empty: Whether a field is merely empty.
    """

    source: str
    line: int
    message: str
    is_empty: bool = False


OnNoRow = Callable[[NoRow], None]


def iter_rows(path: Path, config: DataConfig, on_no_row: OnNoRow) -> Iterator[tuple[Record, Row]]:
    """Stream the rows of a file with the records they are made of.

    Args:
        path (Path): The file.
        config (DataConfig): The names of the columns.
        on_no_row (OnNoRow): Takes what cannot be used; reading goes on.

    Raises:
        DataError: The file as a whole cannot be read.
    """

    def on_fault(fault: RecordFault) -> None:
        on_no_row(NoRow(fault.source, fault.line, fault.message))

    mapping = None
    for record in iter_records(path, on_fault):
        mapping = mapping or recognise(record, config)
        try:
            row = mapping.row_of(record)
        except DataError as error:
            message = error.message.removeprefix(f"{record.place}: ")
            is_empty = isinstance(error, EmptyFieldError)
            on_no_row(NoRow(record.source, record.line, message, is_empty))
            continue
        yield record, row
