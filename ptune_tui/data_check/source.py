"""The files of a check as batches of rows; what is no row is a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ptune_tui.config import DataConfig
from ptune_tui.data_check.report import Split
from ptune_tui.errors import DataError, EmptyFieldError
from ptune_tui.reading.mapping import ColumnMapping, recognise
from ptune_tui.reading.record import OnFault, Record, RecordFault
from ptune_tui.reading.records import iter_records
from ptune_tui.rows import Row


@dataclass(frozen=True)
class SplitFile:
    """A file and what it is for.

    Attributes:
        split: What for.
        path: What `iter_records` reads: a file, a folder with or without `:SPLIT`, a hub id.
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
        hint: What to do.
        is_empty: Whether a field is merely empty.
        item: As in `Record`.
    """

    source: str
    line: int
    message: str
    hint: str
    is_empty: bool = False
    item: int = 0


class ReadRow(NamedTuple):
    """A row, the record it was made of, and how."""

    record: Record
    row: Row
    mapping: ColumnMapping


OnNoRow = Callable[[NoRow], None]
OnAbout = Callable[[str], None]


def ignore(_: str) -> None:
    """Take a sentence and drop it."""


def iter_rows(
    path: Path,
    config: DataConfig,
    on_no_row: OnNoRow,
    on_about: OnAbout = ignore,
    on_repeat: OnFault | None = None,
) -> Iterator[ReadRow]:
    """Stream the rows of a file with the records they are made of.

    The first record whose fields are recognised decides for those behind it.

    Args:
        path (Path): The file.
        config (DataConfig): The names of the columns.
        on_no_row (OnNoRow): Takes what cannot be used; reading goes on.
        on_about (OnAbout): Takes a sentence about the fields that were recognised.
        on_repeat (OnFault | None): As `iter_records`.

    Raises:
        DataError: The file as a whole cannot be read.
    """

    def on_fault(fault: RecordFault) -> None:
        on_no_row(NoRow(fault.source, fault.line, fault.message, fault.hint, item=fault.item))

    mapping = None
    for record in iter_records(path, on_fault, on_repeat):
        try:
            if mapping is None:
                mapping = recognise(record, config)
                if mapping.about:
                    on_about(f"{path.name}: {mapping.about}.")
            row = mapping.row_of(record)
        except DataError as error:
            message = error.message.removeprefix(f"{record.place}: ")
            is_empty = isinstance(error, EmptyFieldError)
            on_no_row(NoRow(record.source, record.line, message, error.hint, is_empty, record.item))
            continue
        yield ReadRow(record, row, mapping)
