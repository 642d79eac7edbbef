"""One record of a data file, and what may be wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ptune_tui.errors import DataError


def place_of(source: str, line: int, item: int) -> str:
    """A place in a file, for a person.

    Args:
        source (str): The file.
        line (int): Counted from 1; 0 for the file as a whole.
        item (int): Of several records on the line, as in `Record`.
    """
    where = f"{source}:{line}" if line else source
    return f"{where}, item {item}" if item else where


@dataclass(frozen=True, slots=True)
class Record:
    """What a data file holds at one place.

    Attributes:
        fields: Values by name, as the file has them; numbers of named labels are names already.
        source: The file.
        line: Where it begins, counted from 1: a line of a text file (blank lines count), a row
            of a Parquet or Arrow file.
        item: Which record of its JSON array, counted from 1, where its line holds several; else 0.
    """

    fields: dict[str, Any]
    source: str
    line: int
    item: int = 0

    @property
    def place(self) -> str:
        """File, line and item, for errors."""
        return place_of(self.source, self.line, self.item)


@dataclass(frozen=True, slots=True)
class RecordFault:
    """A record that cannot be read; those behind it can.

    Attributes:
        source: The file.
        line: Where it is, as in `Record`.
        message: What is wrong, a sentence without the place.
        hint: What to do.
        item: As in `Record`.
    """

    source: str
    line: int
    message: str
    hint: str
    item: int = 0

    def error(self) -> DataError:
        """The same as an error that names the place."""
        return DataError(
            f"{place_of(self.source, self.line, self.item)}: {self.message}", self.hint
        )


OnFault = Callable[[RecordFault], None]


def refuse(fault: RecordFault) -> NoReturn:
    """Take a fault for the end of the file.

    Raises:
        DataError: Always.
    """
    raise fault.error()
