"""The records of a data set of any kind, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ptune_tui.errors import DataError
from ptune_tui.reading.arrow_files import iter_arrow, iter_parquet
from ptune_tui.reading.formats import ARROW, FORMATS, JSON, JSON_LINES, PARQUET, SEPARATORS, kind_of
from ptune_tui.reading.json_document import is_json_lines, iter_json_document
from ptune_tui.reading.json_lines import iter_json_lines
from ptune_tui.reading.record import OnFault, Record, refuse
from ptune_tui.reading.source import files_of
from ptune_tui.reading.tables import iter_table
from ptune_tui.reading.text_file import is_packed


def iter_records(
    path: Path, on_fault: OnFault | None = None, on_repeat: OnFault | None = None
) -> Iterator[Record]:
    """Stream the records of a data set in constant memory.

    Args:
        path (Path): What `source.files_of` finds: a file, a folder, `FOLDER:SPLIT`, a hub id.
        on_fault (OnFault | None): Takes a record that cannot be read, and reading goes on; None to
            end there with an error.
        on_repeat (OnFault | None): Takes the place of a JSON object with a name twice, which is
            read all the same; None: it is not looked for.

    Raises:
        DataError: A file is missing, of another type, or cannot be read on; or a record cannot
            be read and there is no `on_fault`. Names file and line.
    """
    report = on_fault or refuse
    files = files_of(path.as_posix())
    return chain.from_iterable(_records_of(file, report, on_repeat) for file in files)


def _records_of(file: Path, report: OnFault, on_repeat: OnFault | None) -> Iterator[Record]:
    kind = kind_of(file)
    if kind in (PARQUET, *ARROW) and not is_packed(file):
        return iter_parquet(file, report) if kind == PARQUET else iter_arrow(file, report)
    if kind in JSON_LINES or (kind == JSON and is_json_lines(file)):
        return iter_json_lines(file, report, on_repeat)
    if kind == JSON:
        return iter_json_document(file, report, on_repeat)
    if kind in SEPARATORS:
        return iter_table(file, SEPARATORS[kind], report)
    raise DataError(
        f"{file} is of the type `{file.suffix}`, which cannot be read.",
        f"Types that can: {FORMATS}.",
    )
