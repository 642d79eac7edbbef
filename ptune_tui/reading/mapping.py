"""Which fields of a record make a row: recognised by their names, or named by the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError, EmptyFieldError
from ptune_tui.reading.record import Record
from ptune_tui.reading.row import Row


@dataclass(frozen=True)
class ColumnMapping:
    """How the records of a file become rows.

    Attributes:
        prompt: The field of the input.
        response: The field of the answer.
    """

    prompt: str
    response: str

    def row_of(self, record: Record) -> Row:
        """The row of a record.

        Raises:
            DataError: A field is missing, empty or not text; names file and line.
        """
        return Row(
            text_of(record, self.prompt),
            text_of(record, self.response).strip(),
            record.source,
            record.line,
        )


def recognise(record: Record, config: DataConfig) -> ColumnMapping:
    """The mapping of a file, from its first record.

    Args:
        record (Record): The first one.
        config (DataConfig): Names that the user gave; they win.

    Raises:
        DataError: The record is of no known shape.
    """
    return ColumnMapping(config.prompt_field, config.response_field)


def text_of(record: Record, name: str) -> str:
    """The text of a field.

    Raises:
        DataError: It is missing, empty or not text.
    """
    value: Any = record.fields.get(name)
    if value is None:
        found = ", ".join(f"`{key}`" for key in record.fields)
        raise DataError(
            f"{record.place}: this row has no `{name}`.",
            f"It has {found}; name the columns with `--prompt-field` and `--response-field`.",
        )
    if isinstance(value, bool | int | float):
        value = str(value)
    if not isinstance(value, str):
        raise DataError(
            f"{record.place}: `{name}` is a {type(value).__name__}, not text.",
            "Each of the two fields holds one text.",
        )
    if not value.strip():
        raise EmptyFieldError(
            f"{record.place}: `{name}` is empty.", "Fill it in, or leave the row out."
        )
    return value
