"""Rows brought together by their normalised prompts, from keys on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.finder import GroupFinder
from ptune_tui.data_check.key_file import KeyFile, Keys
from ptune_tui.data_check.normal import normalise
from ptune_tui.data_check.row_store import RowStore


def prompt_keys(batch: Batch) -> Keys:
    """A hash of each normalised prompt [N]; the process has a secret seed for it."""
    texts = batch.normal_prompts
    return np.fromiter(map(hash, texts), np.int64, len(texts)).view(np.uint64)


def show_groups(
    keys: KeyFile,
    store: RowStore,
    finders: Sequence[GroupFinder],
    on_progress: Callable[[int], None],
) -> npt.NDArray[np.bool_]:
    """Show each group of rows with the same normalised prompt to some finders.

    Args:
        keys (KeyFile): The `prompt_keys` of all rows.
        store (RowStore): All rows.
        finders (Sequence[GroupFinder]): Who looks.
        on_progress (Callable[[int], None]): Given the rows looked at so far.

    Returns:
        For each row [N] whether an earlier one has the same normalised prompt.
    """
    is_repeat = np.zeros(store.num_rows, bool)
    num_rows = 0
    for part, numbers in keys.sorted_parts():
        ends = np.flatnonzero(part[1:] != part[:-1]) + 1
        for group in np.split(numbers, ends) if len(part) else ():
            _show(group.tolist(), store, finders, is_repeat)
            if num_rows // 4096 < (num_rows := num_rows + len(group)) // 4096:
                on_progress(num_rows)
    return is_repeat


def _show(
    numbers: list[int],
    store: RowStore,
    finders: Sequence[GroupFinder],
    is_repeat: npt.NDArray[np.bool_],
) -> None:
    for finder in finders:
        finder.start_group()
    text = None
    for number in numbers:
        row = store.row(number)
        normal = normalise(row.row.prompt)
        text = normal if text is None else text
        # Two texts with one hash: the later one is left out, rather than reported wrongly.
        if normal == text:
            is_repeat[number] = number != numbers[0]
            for finder in finders:
                finder.look(row)
