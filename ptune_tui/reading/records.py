"""The records of a data file of any kind, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ptune_tui.errors import DataError
from ptune_tui.reading.json_lines import iter_json_lines
from ptune_tui.reading.record import OnFault, Record, refuse
from ptune_tui.reading.tables import iter_table

FORMATS = "JSONL (`.jsonl`), CSV (`.csv`) and TSV (`.tsv`)"


def iter_records(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """Stream the records of a data file in constant memory.

    Args:
        path (Path): A file whose name ends in one of the `FORMATS`, with `.gz` behind it or not.
        on_fault (OnFault | None): Takes a record that cannot be read, and reading goes on; None to
            end there with an error.

    Raises:
        DataError: The file is missing, of another type, or cannot be read on; or a record cannot
            be read and there is no `on_fault`. Names file and line.
    """
    if not path.is_file():
        raise DataError(
            f"There is no data file {path}.",
            "Give a path, or a built-in set: support_inbox or home_commands.",
        )
    report = on_fault or refuse
    kind = kind_of(path)
    if kind in (".jsonl", ".ndjson"):
        return iter_json_lines(path, report)
    if kind in (".csv", ".tsv"):
        return iter_table(path, "\t" if kind == ".tsv" else ",", report)
    raise DataError(
        f"{path} is of the type `{kind}`, which cannot be read.", f"Types that can: {FORMATS}."
    )


def kind_of(path: Path) -> str:
    """The ending that tells a file's format, `.gz` left out."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower()
