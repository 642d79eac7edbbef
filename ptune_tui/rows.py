"""The rows of a file, whole in memory. Torch-free.

A row is a prompt and a response. Every error names the file and the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ptune_tui.config import DataConfig, Scoring
from ptune_tui.errors import DataError
from ptune_tui.reading.lines import encoding_fault
from ptune_tui.reading.mapping import recognise
from ptune_tui.reading.records import FORMATS, iter_records
from ptune_tui.reading.row import Row

__all__ = [
    "MAX_LABELS",
    "Row",
    "closed_set",
    "decode_file",
    "is_closed_set",
    "num_held_out",
    "read_rows",
]

MAX_LABELS = 200
_MIN_ROWS_PER_LABEL = 4


def read_rows(path: Path, config: DataConfig) -> list[Row]:
    """Read all rows of a file.

    Args:
        path (Path): A file that `iter_records` reads.
        config (DataConfig): The names of the columns.

    Raises:
        DataError: The file is missing, of another type, malformed or empty, or a row has no
            prompt or response.
    """
    records = iter_records(path)
    first = next(records, None)
    if first is None:
        raise DataError(f"{path} has no rows.", f"Types that can be read: {FORMATS}.")
    mapping = recognise(first, config)
    return [mapping.row_of(first), *map(mapping.row_of, records)]


def closed_set(rows: Sequence[Row], scoring: Scoring) -> list[str] | None:
    """The labels, where the responses are a closed set; None for free text.

    Args:
        rows (Sequence[Row]): Training rows.
        scoring (Scoring): `auto` takes few responses that each occur several times for labels.
    """
    labels = sorted({row.response for row in rows})
    return labels if is_closed_set(len(labels), len(rows), scoring) else None


def is_closed_set(num_responses: int, num_rows: int, scoring: Scoring) -> bool:
    """Whether responses are labels.

    Args:
        num_responses (int): Different responses of the training rows.
        num_rows (int): Training rows.
        scoring (Scoring): As in `closed_set`.
    """
    if scoring != "auto":
        return scoring == "labels"
    return num_responses <= MAX_LABELS and num_responses * _MIN_ROWS_PER_LABEL <= num_rows


def num_held_out(num_rows: int) -> int:
    """Rows that are held out for validation where none are given: a tenth, at least one."""
    return max(1, num_rows // 10)


def decode_file(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: It is missing or not UTF-8; names the line.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}.", "Check the path.")
    content = path.read_bytes()
    for line, part in enumerate(content.split(b"\n"), start=1):
        if fault := encoding_fault(part, str(path), line):
            raise fault.error()
    return content.decode("utf-8-sig")
