"""The same prompt with different responses."""

from __future__ import annotations

from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.row_store import StoredRow
from ptune_tui.data_check.wording import quoted, seen_from


class ConflictFinder:
    """Rows whose prompt an earlier row answers differently.

    In a closed set that is a contradiction; in free text it is one more right answer.

    Args:
        findings (Findings): Takes what is found.
        is_closed_set (bool): Whether the responses are labels.
    """

    def __init__(self, findings: Findings, is_closed_set: bool) -> None:
        self._findings = findings
        self._is_closed_set = is_closed_set
        self._first: StoredRow | None = None
        self._responses: set[int] = set()  # hashes

    def start_group(self) -> None:
        """Forget the last group."""
        self._first = None
        self._responses.clear()

    def look(self, row: StoredRow) -> None:
        """Report a row that answers otherwise than the first row with its prompt."""
        if self._first is None:
            self._first = row
        first, here = self._first.row, row.row
        is_new = hash(here.response) not in self._responses
        self._responses.add(hash(here.response))
        if here.response == first.response or not (self._is_closed_set or is_new):
            return
        but = "" if here.prompt == first.prompt else " (but for case, spaces or punctuation)"
        self._findings.add(
            "conflict" if self._is_closed_set else "repeated-prompt",
            row.split,
            row.number,
            here,
            f"{quoted(here.response)} here, {quoted(first.response)} at "
            f"{seen_from(first, here)}, for the same prompt{but}.",
        )
