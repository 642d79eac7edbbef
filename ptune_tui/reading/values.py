"""Values of a record's fields, checked."""

from __future__ import annotations

from typing import Any

from ptune_tui.errors import DataError, EmptyFieldError
from ptune_tui.reading.record import Record


def is_missing(value: object) -> bool:
    """Whether a value is nothing: null, or NaN, which pandas writes for what is missing."""
    return value is None or value != value


def value_of(record: Record, name: str) -> Any:
    """The value of a field.

    Raises:
        DataError: It is missing, or nothing.
    """
    value = record.fields.get(name)
    if is_missing(value):
        found = ", ".join(f"`{key}`" for key in record.fields)
        raise DataError(
            f"{record.place}: this row has no `{name}`.",
            f"It has {found}; name the columns with `--prompt-field` and `--response-field`.",
        )
    return value


def as_text(value: object, name: str, record: Record) -> str:
    """The text of a value; numbers become text.

    Raises:
        DataError: It is empty, or no text.
    """
    if isinstance(value, bool | int | float):
        return str(value)
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
