"""Rows that a held-out file shares with training: scores on them are not scores on unseen data."""

from __future__ import annotations

from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.row_store import RowStore, StoredRow
from ptune_tui.data_check.wording import seen_from


class SplitFinder:
    """Held-out rows whose prompt is also in an earlier file.

    Args:
        findings (Findings): Takes what is found.
        store (RowStore): All rows.
    """

    def __init__(self, findings: Findings, store: RowStore) -> None:
        self._findings = findings
        self._store = store
        self._training: list[int] = []  # positions of the group's training rows
        self._validation: list[int] = []
        self._exact: dict[int, int] = {}  # the first earlier row by the hash of its prompt
        self._is_dropped = False

    def start_group(self) -> None:
        """Forget the last group."""
        self._training.clear()
        self._validation.clear()
        self._exact.clear()
        self._is_dropped = False

    def look(self, row: StoredRow) -> None:
        """Report a held-out row that training, or validation, has too."""
        if row.split == "training":
            self._training.append(row.number)
            self._exact.setdefault(hash(row.row.prompt), row.number)
            return
        if self._training:
            self._report(row, self._training, "training")
        elif row.split == "test" and self._validation:
            self._report(row, self._validation, "validation")
        if row.split == "validation":
            self._validation.append(row.number)
            if not self._training:
                self._exact.setdefault(hash(row.row.prompt), row.number)

    def _report(self, row: StoredRow, earlier: list[int], where: str) -> None:
        other = self._store.row(self._exact.get(hash(row.row.prompt), earlier[0])).row
        is_exact = other.prompt == row.row.prompt
        but = "" if is_exact else " but for case, spaces or punctuation"
        # All training rows of the group go, so its first held-out row names them for the others.
        drop = tuple(earlier) if where == "training" and not self._is_dropped else ()
        self._is_dropped |= bool(drop)
        self._findings.add(
            "split-overlap" if is_exact else "split-overlap-normalised",
            row.split,
            row.number,
            row.row,
            f"this prompt is also in {where}{but}: {seen_from(other, row.row)}.",
            drop=drop,
            is_of_training=where == "training",
        )
