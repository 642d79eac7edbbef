"""What a finder is: one of two ways to look at rows."""

from __future__ import annotations

from typing import Protocol

from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.row_store import StoredRow


class RowFinder(Protocol):
    """Looks at each row once, as they stream by."""

    def look(self, batch: Batch) -> None:
        """Look at some rows."""


class GroupFinder(Protocol):
    """Looks at rows whose prompts are the same after normalising, after all rows were read."""

    def start_group(self) -> None:
        """Forget the last group."""

    def look(self, row: StoredRow) -> None:
        """Look at the next row of the group; training rows come first, in the order of the file."""
