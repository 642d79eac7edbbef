"""One record of a data file, and what may be wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ptune_tui.errors import DataError


@dataclass(frozen=True, slots=True)
class Record:
    """What a data file holds at one place.

    Attributes:
        fields: Values by name, as the file has them; numbers of named labels are names already.
        source: The file.
        line: Where it begins, counted from 1: a line of a text file (blank lines count), a row
            of a Parquet or Arrow file.
    """

    fields: dict[str, Any]
    source: str
    line: int

    @property
    def place(self) -> str:
        """File and line, for errors."""
        return f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class RecordFault:
    """A record that cannot be read; those behind it can.

    Attributes:
        source: The file.
        line: Where it is, as in `Record`.
        message: What is wrong, a sentence without the place.
        hint: What to do.
    """

    source: str
    line: int
    message: str
    hint: str

    def error(self) -> DataError:
        """The same as an error that names the place."""
        return DataError(f"{self.source}:{self.line}: {self.message}", self.hint)


OnFault = Callable[[RecordFault], None]


def refuse(fault: RecordFault) -> NoReturn:
    """Take a fault for the end of the file.

    Raises:
        DataError: Always.
    """
    raise fault.error()
