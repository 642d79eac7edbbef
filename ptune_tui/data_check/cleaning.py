"""What `--fix` does: a cleaned copy of the training file, with all fields that it had."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from ptune_tui.config import DataConfig
from ptune_tui.data_check.check import Checked, OnProgress
from ptune_tui.data_check.encodings import repair
from ptune_tui.data_check.secrets import redact
from ptune_tui.data_check.source import NoRow, iter_rows
from ptune_tui.errors import DataError, UsageError
from ptune_tui.reading.mapping import recognise
from ptune_tui.reading.record import Record

FORMATS = (".jsonl", ".ndjson", ".csv", ".tsv")


class Cleaned(Struct, frozen=True):
    """What was done."""

    path: str
    num_written: int
    num_left_out: int  # no rows, or empty
    num_dropped: int
    num_repaired: int  # rows with a repaired encoding
    num_redacted: int  # rows that held a secret
    num_relabelled: int  # rows whose label was written in the commoner form


def check_destination(destination: Path) -> None:
    """Refuse to write where something would be lost.

    Args:
        destination (Path): Where the copy goes.

    Raises:
        UsageError: It is there already, of a type that is not written, or has no folder.
    """
    if destination.suffix.lower() not in FORMATS:
        raise UsageError(
            f"`--fix {destination}`: a copy is written as {', '.join(FORMATS)}.",
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
        config (DataConfig): The names of the columns, as in the check.
        checked (Checked): What the check found.
        on_progress (OnProgress): Given what is done and how many so far.

    Raises:
        DataError: The file is another one than was checked.
    """
    cleaning = _Cleaning(checked, config)
    part = destination.with_name(f".{destination.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            write = _writer(file, destination)
            rows = iter_rows(source, config, cleaning.leave_out)
            for number, (record, row) in enumerate(rows):
                if fields := cleaning.mended(number, record, row.response):
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

    def __init__(self, checked: Checked, config: DataConfig) -> None:
        self._config = config
        self._answer_columns: tuple[str, ...] | None = None
        self._dropped = checked.dropped
        self._commoner_label = checked.commoner_label
        self.num_rows = 0
        self._num_left_out = self._num_dropped = self._num_written = 0
        self._num_repaired = self._num_redacted = self._num_relabelled = 0

    def leave_out(self, _: NoRow) -> None:
        self._num_left_out += 1

    def mended(self, number: int, record: Record, response: str) -> dict[str, Any] | None:
        """The fields of a record as they are written; None for a row that is dropped."""
        self.num_rows += 1
        if number in self._dropped:
            self._num_dropped += 1
            return None
        repaired = _mapped(record.fields, repair)
        redacted = _mapped(repaired, redact)
        self._num_repaired += repaired != record.fields
        self._num_redacted += redacted != repaired
        fields: dict[str, Any] = redacted
        if label := self._commoner_label.get(response):
            relabelled = fields | self._relabelled(record, fields, response, label)
            self._num_relabelled += relabelled != fields
            fields = relabelled
        self._num_written += 1
        return fields

    def _relabelled(
        self, record: Record, fields: dict[str, Any], response: str, label: str
    ) -> dict[str, Any]:
        """The fields that hold the answer, with the label in its commoner form."""
        if self._answer_columns is None:
            self._answer_columns = recognise(record, self._config).answer.columns
        forms = {response, repair(response)}
        return {
            name: _mapped(fields[name], lambda text: label if text.strip() in forms else text)
            for name in self._answer_columns
            if name in fields
        }

    def result(self, destination: Path) -> Cleaned:
        return Cleaned(
            str(destination),
            self._num_written,
            self._num_left_out,
            self._num_dropped,
            self._num_repaired,
            self._num_redacted,
            self._num_relabelled,
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
            table = csv.DictWriter(file, list(fields), delimiter=delimiter, lineterminator="\n")
            table.writeheader()
        nested = next((key for key, value in fields.items() if isinstance(value, dict | list)), "")
        if nested or fields.keys() != set(table.fieldnames):
            why = f"`{nested}` is nested" if nested else "the records have different fields"
            raise UsageError(f"{destination} cannot be a table: {why}.", "Write JSONL: `.jsonl`.")
        table.writerow(fields)

    return write
