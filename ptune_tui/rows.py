"""The rows of a file, whole in memory. Torch-free.

A row is a prompt and a response. Every error names the file and the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ptune_tui.config import DataConfig, Scoring
from ptune_tui.errors import DataError
from ptune_tui.reading.formats import FORMATS
from ptune_tui.reading.mapping import recognise
from ptune_tui.reading.records import iter_records
from ptune_tui.reading.row import Row

__all__ = [
    "MAX_LABELS",
    "Row",
    "RowsRead",
    "closed_set",
    "is_closed_set",
    "num_held_out",
    "read_rows",
    "recognise_rows",
]

MAX_LABELS = 200
_MIN_ROWS_PER_LABEL = 4


@dataclass(frozen=True)
class RowsRead:
    """The rows of a data set.

    Attributes:
        rows: All of them.
        about: Which fields were recognised, in words; None where nothing was guessed.
    """

    rows: list[Row]
    about: str | None


def read_rows(path: Path, config: DataConfig, num_rows: int | None = None) -> list[Row]:
    """Read the rows of a data set.

    Args:
        path (Path): What `iter_records` reads.
        config (DataConfig): The names of the columns, or the template over them.
        num_rows (int | None): Only the first ones, so many; None for all.

    Raises:
        DataError: The file is missing, of another type, malformed or empty, or a row has no
            prompt or response.
    """
    return recognise_rows(path, config, num_rows).rows


def recognise_rows(path: Path, config: DataConfig, num_rows: int | None = None) -> RowsRead:
    """The same, and which fields they were read from.

    Args:
        path (Path): What `iter_records` reads.
        config (DataConfig): The names of the columns, or the template over them.
        num_rows (int | None): Only the first ones, so many; None for all.

    Raises:
        DataError: As `read_rows`.
    """
    records = islice(iter_records(path), num_rows)
    first = next(records, None)
    if first is None:
        raise DataError(f"{path} has no rows.", f"Types that can be read: {FORMATS}.")
    mapping = recognise(first, config)
    rows = [mapping.row_of(first), *map(mapping.row_of, records)]
    return RowsRead(rows, mapping.about and f"{path.name}: {mapping.about}")


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
