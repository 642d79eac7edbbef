"""Rows that are there twice."""

from __future__ import annotations

from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.report import Split
from ptune_tui.data_check.row_store import RowStore, StoredRow
from ptune_tui.data_check.wording import seen_from


class DuplicateFinder:
    """Rows of one file with the same prompt and response.

    Args:
        findings (Findings): Takes what is found.
        store (RowStore): All rows: what is told apart by a hash is compared as text.
    """

    def __init__(self, findings: Findings, store: RowStore) -> None:
        self._findings = findings
        self._store = store
        # Positions of the first rows of the group, by a hash of what must be the same.
        self._exact: dict[tuple[Split, int], int] = {}
        self._normal: dict[tuple[Split, int], int] = {}

    def start_group(self) -> None:
        """Forget the last group."""
        self._exact.clear()
        self._normal.clear()

    def look(self, row: StoredRow) -> None:
        """Report a row that an earlier one of its file is the same as."""
        exact = (row.split, hash((row.row.prompt, row.row.response)))
        normal = (row.split, hash(row.row.response))
        first = self._exact.setdefault(exact, row.number)
        like = self._normal.setdefault(normal, row.number)
        if first != row.number:
            other = self._store.row(first).row
            if (other.prompt, other.response) == (row.row.prompt, row.row.response):
                message = f"the same prompt and response as {seen_from(other, row.row)}."
                self._findings.add(
                    "duplicate", row.split, row.number, row.row, message, drop=(row.number,)
                )
                return
        if like != row.number:
            other = self._store.row(like).row
            if other.response == row.row.response:
                where = seen_from(other, row.row)
                message = f"the same as {where} but for case, spaces or punctuation."
                self._findings.add("duplicate-normalised", row.split, row.number, row.row, message)
