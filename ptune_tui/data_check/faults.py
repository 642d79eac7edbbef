"""What is no row, and what is one only after something was passed over."""

from __future__ import annotations

from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.report import Code
from ptune_tui.data_check.source import NoRow, SplitFile
from ptune_tui.errors import DataError
from ptune_tui.reading.formats import FORMATS
from ptune_tui.reading.record import RecordFault, place_of


class FaultFinder:
    """Takes what the reading of one file meets.

    Args:
        findings (Findings): Takes what is found.
        file (SplitFile): The file.
        file_number (int): Of all files, training first.
    """

    def __init__(self, findings: Findings, file: SplitFile, file_number: int) -> None:
        self._findings = findings
        self._file = file
        self._file_number = file_number
        self._first_no_row: NoRow | None = None

    def add_no_row(self, place: NoRow) -> None:
        """Report what stands where a row should."""
        self._first_no_row = self._first_no_row or place
        self._add("empty" if place.is_empty else "malformed", place)

    def add_repeated_name(self, place: RecordFault) -> None:
        """Report a JSON object with a name twice."""
        self._add("repeated-name", place)

    def no_rows(self) -> DataError:
        """A file without a row, with what is wrong with its first record."""
        found = self._first_no_row
        if found is None:
            return DataError(
                f"{self._file.path} has no rows.", f"Types that can be read: {FORMATS}."
            )
        place = place_of(found.source, found.line, found.item)
        return DataError(
            f"{self._file.path} has no row that can be used; {place}: {found.message}", found.hint
        )

    def _add(self, code: Code, place: NoRow | RecordFault) -> None:
        self._findings.add_place(
            code,
            self._file.split,
            # Those of an earlier file stand first, whatever their lines.
            (self._file_number << 40) + (place.item or place.line),
            place.source,
            place.line,
            place.message,
            item=place.item,
        )
