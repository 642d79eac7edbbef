"""Rows from files. Torch-free.

A row is a prompt and a response. Every error names the file and the line.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptune_tui.config import DataConfig, Scoring
from ptune_tui.errors import DataError

FORMATS = "JSONL (`.jsonl`), CSV (`.csv`) and TSV (`.tsv`)"
_MAX_LABELS = 200
_MIN_ROWS_PER_LABEL = 4


@dataclass(frozen=True)
class Row:
    """One example.

    Attributes:
        prompt: The input.
        response: What is to be answered.
        source: The file it came from.
        line: Its line there, counted from 1.
    """

    prompt: str
    response: str
    source: str
    line: int

    @property
    def place(self) -> str:
        """File and line, for errors."""
        return f"{self.source}:{self.line}"


def read_rows(path: Path, config: DataConfig) -> list[Row]:
    """Read all rows of a file.

    Args:
        path (Path): A JSONL, CSV or TSV file.
        config (DataConfig): The names of the columns.

    Raises:
        DataError: The file is missing, of another type, malformed or empty, or a row has no
            prompt or response.
    """
    if not path.is_file():
        raise DataError(
            f"There is no data file {path}.",
            "Give a path, or a built-in set: support_inbox or home_commands.",
        )
    text = decode_file(path)
    if path.suffix in (".jsonl", ".ndjson"):
        records = _json_records(text, path)
    elif path.suffix in (".csv", ".tsv"):
        records = _table_records(text, path, "\t" if path.suffix == ".tsv" else ",")
    else:
        raise DataError(
            f"{path} is of the type `{path.suffix}`, which cannot be read.",
            f"Types that can: {FORMATS}.",
        )
    rows = [
        Row(
            _field(record, config.prompt_field, path, line),
            _field(record, config.response_field, path, line).strip(),
            str(path),
            line,
        )
        for line, record in records
    ]
    if not rows:
        raise DataError(f"{path} has no rows.", f"Each line is one row; types: {FORMATS}.")
    return rows


def closed_set(rows: Sequence[Row], scoring: Scoring) -> list[str] | None:
    """The labels, where the responses are a closed set; None for free text.

    Args:
        rows (Sequence[Row]): Training rows.
        scoring (Scoring): `auto` takes few responses that each occur several times for labels.
    """
    labels = sorted({row.response for row in rows})
    if scoring == "text":
        return None
    is_closed = len(labels) <= _MAX_LABELS and len(labels) * _MIN_ROWS_PER_LABEL <= len(rows)
    return labels if scoring == "labels" or is_closed else None


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
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: byte {content[error.start]:#04x} is not UTF-8.",
            "Save the file as UTF-8.",
        ) from None


def _json_records(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(
                f"{path}:{line}: this line is not JSON: {error}", "Each line is one JSON object."
            ) from None
        if not isinstance(record, dict):
            raise DataError(
                f"{path}:{line}: this line is a JSON {type(record).__name__}, not an object.",
                'For example {"prompt": "...", "response": "..."}.',
            )
        yield line, record


def _table_records(text: str, path: Path, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for record in reader:
            yield reader.line_num, record
    except csv.Error as error:
        raise DataError(
            f"{path}:{reader.reader.line_num}: this line is not CSV: {error}",
            "Check the quotation marks around here.",
        ) from None


def _field(record: dict[str, Any], name: str, path: Path, line: int) -> str:
    if name not in record or record[name] is None:
        found = ", ".join(f"`{key}`" for key in record if key is not None)
        raise DataError(
            f"{path}:{line}: this row has no `{name}`.",
            f"It has {found}; name the columns with `--prompt-field` and `--response-field`.",
        )
    value = record[name]
    if isinstance(value, bool | int | float):
        value = str(value)
    if not isinstance(value, str):
        raise DataError(
            f"{path}:{line}: `{name}` is a {type(value).__name__}, not text.",
            "Each of the two fields holds one text.",
        )
    if not value.strip():
        raise DataError(f"{path}:{line}: `{name}` is empty.", "Fill it in, or leave the row out.")
    return value
