"""Collects findings: counts all of them, keeps the first places of each kind."""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Sequence

from ptune_tui.data_check.kinds import KINDS, LEFT
from ptune_tui.data_check.report import Code, CodeSummary, Finding, Split
from ptune_tui.rows import Row


class Findings:
    """What was found so far.

    Args:
        num_places (int): Places to keep of each kind; the first ones by row, in whatever order
            they come.
    """

    def __init__(self, num_places: int) -> None:
        self._num_places = num_places
        self._counts: Counter[tuple[Code, Split]] = Counter()
        # Heaps by falling position, so that the last of the kept places is on top.
        self._places: dict[Code, list[tuple[int, int, Finding]]] = {}
        self._num_added = 0
        self._num_errors_left = 0
        self._dropped = array("Q")

    def add(
        self,
        code: Code,
        split: Split,
        number: int,
        row: Row,
        message: str,
        *,
        drop: Sequence[int] = (),
        count: int = 1,
        is_of_training: bool | None = None,
    ) -> None:
        """Add a finding.

        Args:
            code (Code): Its kind.
            split (Split): Of the row.
            number (int): Position of the row among all rows, for the order of the places.
            row (Row): Where it is.
            message (str): One sentence with the value.
            drop (Sequence[int]): Positions of the rows that `--fix` drops for it.
            count (int): How many rows it stands for.
            is_of_training (bool | None): Whether its cause lies in the training rows, which alone
                `--fix` mends; None: where the row does.
        """
        self.add_place(
            *(code, split, number, row.source, row.line, message),
            count=count,
            is_of_training=is_of_training,
            item=row.item,
        )
        self._dropped.extend(drop)

    def add_place(
        self,
        code: Code,
        split: Split,
        number: int,
        source: str,
        line: int,
        message: str,
        *,
        count: int = 1,
        is_of_training: bool | None = None,
        item: int = 0,
    ) -> None:
        """Add a finding that is of no row: a malformed line, or a file as a whole (line 0)."""
        self._counts[code, split] += count
        kind = KINDS[code]
        can_mend = split == "training" if is_of_training is None else is_of_training
        if kind.severity == "error" and not (kind.is_mended and can_mend):
            self._num_errors_left += count
        heap = self._places.setdefault(code, [])
        is_full = len(heap) >= self._num_places
        if is_full and -heap[0][0] <= number:
            return
        fix = kind.fix if can_mend else LEFT
        finding = Finding(code, kind.severity, source, line, message, fix, item)
        self._num_added += 1
        entry = (-number, -self._num_added, finding)
        if is_full:
            heapq.heapreplace(heap, entry)
        else:
            heapq.heappush(heap, entry)

    def dropped(self) -> set[int]:
        """Positions of the rows that `--fix` drops."""
        return set(self._dropped)

    def num_errors_left(self) -> int:
        """Errors that are still there after `--fix`."""
        return self._num_errors_left

    def summaries(self) -> list[CodeSummary]:
        """All kinds that were found, in the order of `KINDS`: errors first."""
        found = {code for code, _ in self._counts}
        return [self._summary(code) for code in KINDS if code in found]

    def _summary(self, code: Code) -> CodeSummary:
        kind = KINDS[code]
        counts = {split: count for (name, split), count in self._counts.items() if name == code}
        places = [entry[-1] for entry in sorted(self._places[code], reverse=True)]
        return CodeSummary(
            code, kind.severity, kind.title, sum(counts.values()), counts, kind.fix, places
        )
