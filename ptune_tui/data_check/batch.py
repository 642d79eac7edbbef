"""Some rows of one file, as the finders see them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ptune_tui.data_check.normal import normalise
from ptune_tui.data_check.report import Split
from ptune_tui.rows import Row


@dataclass(frozen=True)
class Batch:
    """Rows that follow each other.

    Attributes:
        split: Which of the files they are of.
        first: Position of the first one among all rows of all files, counted from 0.
        rows: The rows.
    """

    split: Split
    first: int
    rows: list[Row]

    @cached_property
    def prompts(self) -> list[str]:
        """Their prompts."""
        return [row.prompt for row in self.rows]

    @cached_property
    def responses(self) -> list[str]:
        """Their responses."""
        return [row.response for row in self.rows]

    @cached_property
    def normal_prompts(self) -> list[str]:
        """Their prompts without case, spaces and punctuation."""
        return [normalise(prompt) for prompt in self.prompts]
