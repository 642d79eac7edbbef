"""Pieces of the sentences of findings."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from ptune_tui.reading.record import place_of
from ptune_tui.rows import Row

_MOST_CHARACTERS = 48


def seen_from(other: Row, row: Row) -> str:
    """The place of another row: its line or item, and where that differs, its file's name."""
    if other.source == row.source:
        return f"item {other.item:,}" if other.item else f"line {other.line:,}"
    name = Path(other.source).name
    if name == Path(row.source).name:
        return other.place
    return place_of(name, other.line, other.item)


def quoted(text: str) -> str:
    """A text in quotation marks, cut where it is long, invisible characters written out."""
    shown = text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."
    return repr(shown)


def around(text: str, start: int, stop: int) -> str:
    """What stands at a place of a text with some of its neighbourhood, quoted."""
    first = max(0, start - 12)
    return quoted(text[first : stop + 12])


def character(text: str) -> str:
    """A character by its number and name."""
    return f"U+{ord(text):04X} ({unicodedata.name(text, 'control character')})"


def rows_text(count: int) -> str:
    """A number of rows."""
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
