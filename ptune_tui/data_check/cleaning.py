"""What `--fix` does: a cleaned copy of the training file, with all fields that it had."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from ptune_tui.config import DataConfig
from ptune_tui.data_check.check import Checked, OnProgress
from ptune_tui.data_check.encodings import repair
from ptune_tui.data_check.report import Split
from ptune_tui.data_check.secrets import redact
from ptune_tui.data_check.source import NoRow, ReadRow, iter_rows
from ptune_tui.data_check.wording import quoted, rows_text
from ptune_tui.errors import DataError, UsageError
from ptune_tui.reading.formats import JSON_LINES, SEPARATORS

WRITTEN = (*JSON_LINES, *SEPARATORS)
_ROW_END = "\r\n"


class LostLabel(Struct, frozen=True):
    """A label of held-out rows that training has and the copy does not."""

    label: str
    split: Split
    num_rows: int  # of the split

    def in_words(self) -> str:
        """A sentence."""
        return (
            f"The copy has no row of {quoted(self.label)}, and {self.split} has "
            f"{rows_text(self.num_rows)} of it: an unknown label."
        )


class Cleaned(Struct, frozen=True):
    """What was done."""

    path: str
    num_written: int
    num_left_out: int  # no rows, or empty
    num_dropped: int
    num_repaired: int  # rows with a repaired encoding
    num_redacted: int  # rows that held a secret
    num_relabelled: int  # rows whose label was written in the commoner form
    lost_labels: list[LostLabel]


def check_destination(destination: Path) -> None:
    """Refuse to write where something would be lost.

    Args:
        destination (Path): Where the copy goes.

    Raises:
        UsageError: It is there already, of a type that is not written, or has no folder.
    """
    if destination.suffix.lower() not in WRITTEN:
        raise UsageError(
            f"`--fix {destination}`: a copy is written as {', '.join(WRITTEN)}.",
            "For example `--fix cleaned.jsonl`.",
        )
    if destination.exists():
        raise UsageError(f"`--fix {destination}`: it is there already.", "Name a new file.")
    if not destination.parent.is_dir():
        raise UsageError(f"There is no folder {destination.parent}.", "Make it, or name another.")


def write_cleaned(
    source: Path,
    destination: Path,
    config: DataConfig,
    checked: Checked,
    on_progress: OnProgress,
) -> Cleaned:
    """Read the training file again and write what is left of it.

    Args:
        source (Path): The training file.
        destination (Path): Where the copy goes; there is no such file yet.
        config (DataConfig): Columns and template, as in the check.
        checked (Checked): What the check found.
        on_progress (OnProgress): Given what is done and how many so far.

    Raises:
        DataError: The file is another one than was checked.
    """
    cleaning = _Cleaning(checked)
    part = destination.with_name(f".{destination.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            write = _writer(file, destination)
            rows = iter_rows(source, config, cleaning.leave_out)
            for number, read in enumerate(rows):
                if fields := cleaning.mended(number, read):
                    write(fields)
                if number % 4096 == 0:
                    on_progress("rows cleaned", number)
        training = checked.report.splits[0]
        if cleaning.num_rows != training.num_rows:
            raise DataError(
                f"{source} had {training.num_rows:,} rows when it was checked and has "
                f"{cleaning.num_rows:,} now.",
                "Try again when nobody writes to it.",
            )
        part.replace(destination)
    finally:
        part.unlink(missing_ok=True)
    return cleaning.result(destination)


class _Cleaning:
    """Mends records and counts what it does."""

    def __init__(self, checked: Checked) -> None:
        self._splits = checked.report.splits
        self._labels: set[str] | None = None if self._splits[0].labels is None else set()
        self._dropped = checked.dropped
        self._commoner_label = checked.commoner_label
        self.num_rows = 0
        self._num_left_out = self._num_dropped = self._num_written = 0
        self._num_repaired = self._num_redacted = self._num_relabelled = 0

    def leave_out(self, _: NoRow) -> None:
        self._num_left_out += 1

    def mended(self, number: int, read: ReadRow) -> dict[str, Any] | None:
        """The fields of a record as they are written; None for a row that is not."""
        self.num_rows += 1
        if number in self._dropped:
            self._num_dropped += 1
            return None
        record = read.record
        repaired = _mapped(record.fields, repair)
        redacted = _mapped(repaired, redact)
        relabelled: dict[str, Any] = redacted | self._relabelled(read, redacted)
        response = read.row.response
        if relabelled != record.fields:
            # What is left of a text without its invisible characters may be nothing.
            try:
                row = read.mapping.row_of(replace(record, fields=relabelled))
            except DataError:
                self._num_left_out += 1
                return None
            response = row.response
        if self._labels is not None:
            self._labels.add(response)
        self._num_repaired += repaired != record.fields
        self._num_redacted += redacted != repaired
        self._num_relabelled += relabelled != redacted
        self._num_written += 1
        return relabelled

    def _relabelled(self, read: ReadRow, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields that hold the answer, with a label in its commoner form; none for others."""
        response = read.row.response
        label = self._commoner_label.get(response)
        if label is None:
            return {}
        forms = {response, repair(response)}
        return {
            name: _mapped(fields[name], lambda text: label if text.strip() in forms else text)
            for name in read.mapping.answer.columns
            if name in fields
        }

    def _lost_labels(self) -> list[LostLabel]:
        if self._labels is None:
            return []
        return [
            LostLabel(found.label, split.split, found.num_rows)
            for split in self._splits[1:]
            for found in split.labels or ()
            if found.label not in self._labels
        ]

    def result(self, destination: Path) -> Cleaned:
        return Cleaned(
            str(destination),
            self._num_written,
            self._num_left_out,
            self._num_dropped,
            self._num_repaired,
            self._num_redacted,
            self._num_relabelled,
            self._lost_labels(),
        )


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A value of JSON with all its texts changed, the names of its fields left as they are."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(part, change) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(part, change) for part in value]
    return value


class _RowFile:
    r"""Takes rows of a table with their ends, and writes them ended by a line feed.

    The module `csv` quotes a field that holds a character of the row's end and no other: with `\n`
    a carriage return in a text would end the row.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix(_ROW_END) + "\n")


def _writer(file: IO[str], destination: Path) -> Callable[[dict[str, Any]], object]:
    """What writes one record in the format of a file's name."""
    if destination.suffix.lower() in (".jsonl", ".ndjson"):
        encoder = msgspec.json.Encoder()
        return lambda fields: file.write(encoder.encode(fields).decode() + "\n")
    table: csv.DictWriter[str] | None = None

    def write(fields: dict[str, Any]) -> None:
        nonlocal table
        if table is None:
            delimiter = "\t" if destination.suffix.lower() == ".tsv" else ","
            table = csv.DictWriter(
                _RowFile(file), list(fields), delimiter=delimiter, lineterminator=_ROW_END
            )
            table.writeheader()
        nested = next((key for key, value in fields.items() if isinstance(value, dict | list)), "")
        if nested or fields.keys() != set(table.fieldnames):
            why = f"`{nested}` is nested" if nested else "the records have different fields"
            raise UsageError(f"{destination} cannot be a table: {why}.", "Write JSONL: `.jsonl`.")
        table.writerow(fields)

    return write
