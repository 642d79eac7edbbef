"""Which label does the model give each row? By the likelihood of the whole label and end token.

Legend: B rows, S new tokens behind a row, N all tokens behind a row, V vocabulary.

The rows' keys and values are computed once; each round then asks, for all undecided rows at a time,
what follows the most promising beginning of a label (`export.labels`: exact, best first). A tuned
prompt decides in as many rounds as its label has tokens. A base that hardly knows the labels would
need a hundred: the rows that are undecided by then go on a few at a time, with many beginnings a
round, as a tree in which each token is computed once and sees its own path. Where every label's
likelihood is asked for (calibration), trees hold all beginnings at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from export.labels import LabelSearch, LabelTrie, Path, label_probabilities
from ptune_tui.engine.batches import sorted_batches
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import Prefix, RowCache
from ptune_tui.engine.scoring import RowsRead, continue_rows, logits_of_steps, read_rows

_MAX_BATCH_TOKENS = 1536
_ROUNDS_PER_TOKEN = 1  # of the longest label, before trees are grown
# Trees: so many rows at a time and new beginnings a round keep products large and memory small
# (each token of a round has logits over the whole vocabulary).
_TREE_ROWS = 12
_TREE_PATHS = 16


@dataclass(frozen=True)
class FoundLabel:
    """A row's label.

    Attributes:
        label: The most likely one's number.
        probabilities: Of all labels, given that it is one of them, where all were scored.
    """

    label: int
    probabilities: tuple[float, ...] = ()


def classify(
    frozen: FrozenModel,
    prefix: Prefix,
    rows: Sequence[list[int]],
    trie: LabelTrie,
    on_progress: Callable[[int, int], None] | None = None,
    with_probabilities: bool = False,
) -> list[FoundLabel]:
    """The label of each row.

    Args:
        frozen (FrozenModel): The model.
        prefix (Prefix): What every row attends to.
        rows (Sequence[list[int]]): Tokens of each row behind the prefix, up to the response.
        trie (LabelTrie): The labels.
        on_progress (Callable[[int, int], None] | None): Called with rows done and their number.
        with_probabilities (bool): Whether to score every label.
    """
    found = [FoundLabel(0)] * len(rows)
    num_done = 0
    for numbers in sorted_batches(list(map(len, rows)), _MAX_BATCH_TOKENS, prefix.length):
        batch = [rows[number] for number in numbers]
        searches = _search_batch(frozen, prefix, batch, trie, with_probabilities)
        for number, search in zip(numbers, searches, strict=True):
            found[number] = _found(search, with_probabilities)
        num_done += len(numbers)
        if on_progress:
            on_progress(num_done, len(rows))
    return found


def _found(search: LabelSearch, with_probabilities: bool) -> FoundLabel:
    if not with_probabilities:
        return FoundLabel(search.best)
    return FoundLabel(search.best, tuple(label_probabilities(search.all_scores).tolist()))


def _search_batch(
    frozen: FrozenModel,
    prefix: Prefix,
    rows: list[list[int]],
    trie: LabelTrie,
    is_exhaustive: bool,
) -> list[LabelSearch]:
    longest = max(map(len, trie.labels))
    # A tree at once saves rounds where all beginnings will be asked for anyway.
    num_plain_rounds = 0 if is_exhaustive else _ROUNDS_PER_TOKEN * longest
    num_rows = _TREE_ROWS * _TREE_PATHS // min(_TREE_PATHS, max(1, len(trie.inner_paths())))
    read = read_rows(frozen, prefix, rows, longest)
    searches = [LabelSearch(trie, row.numpy(), is_exhaustive) for row in read.log_probabilities]
    open_rows = list(range(len(rows)))
    num_rounds = 0
    while asked := list(_open_paths(searches, open_rows)):
        open_rows = [row for row, _ in asked]
        if isinstance(read.cache, RowCache) and num_rounds >= num_plain_rounds:
            for first in range(0, len(open_rows), num_rows):
                few = open_rows[first : first + num_rows]
                _grow_trees(frozen, prefix, read, {row: searches[row] for row in few})
            break
        ids, last = _padded([path for _, path in asked])
        part = _selected(read, open_rows, len(searches))
        behind = continue_rows(frozen, prefix, part, 0, ids, last)
        for row, log_probabilities in zip(open_rows, behind, strict=True):
            searches[row].feed(log_probabilities.numpy())
        num_rounds += 1
    return searches


def _grow_trees(
    frozen: FrozenModel, prefix: Prefix, read: RowsRead, searches: dict[int, LabelSearch]
) -> None:
    """Decide some rows, each with a tree of label beginnings behind it that is kept in the cache.

    Args:
        frozen (FrozenModel): The model.
        prefix (Prefix): The rows' prefix.
        read (RowsRead): All rows.
        searches (dict[int, LabelSearch]): By number of the row.
    """
    assert isinstance(read.cache, RowCache)
    numbers = list(searches)
    cache = read.cache.selected(torch.tensor(numbers))
    trees: dict[int, list[Path]] = {number: [] for number in numbers}
    while numbers:
        new = {number: searches[number].wanted(_TREE_PATHS, trees[number]) for number in numbers}
        width = max(map(len, new.values()))
        for number in numbers:
            # No path is empty: an empty one fills up a row of fewer.
            trees[number] += new[number] + [()] * (width - len(new[number]))
        cache.reserve(width)
        part = RowsRead(cache, read.lengths[numbers], read.log_probabilities)
        found = _continue_trees(frozen, prefix, part, [trees[n] for n in numbers], width)
        cache.position += width
        for number, log_probabilities_SV in zip(numbers, found, strict=True):
            for path, log_probabilities in zip(new[number], log_probabilities_SV, strict=False):
                searches[number].feed(log_probabilities.numpy(), path)
        is_open = [searches[number].next_path() is not None for number in numbers]
        cache = cache.selected(torch.tensor(is_open).nonzero().flatten())
        numbers = [number for number, goes_on in zip(numbers, is_open, strict=True) if goes_on]


def _continue_trees(
    frozen: FrozenModel, prefix: Prefix, read: RowsRead, trees: list[list[Path]], num_new: int
) -> Tensor:
    """Log-probabilities behind the last paths of each row's tree, float32 [B, num_new, V].

    A tree's paths are its tokens: each is one step behind its beginning and sees nothing else.
    """
    num_rows, num_all = len(trees), len(trees[0])
    num_before = num_all - num_new
    ids_BS = torch.zeros((num_rows, num_new), dtype=torch.int64)
    steps_BN = torch.zeros((num_rows, num_all), dtype=torch.int64)
    sees_BSN = torch.zeros((num_rows, num_new, num_all), dtype=torch.bool)
    for row, tree in enumerate(trees):
        columns = {path: column for column, path in enumerate(tree)}
        for column, path in enumerate(tree):
            steps_BN[row, column] = max(0, len(path) - 1)
            if path and column >= num_before:
                ids_BS[row, column - num_before] = path[-1]
                seen = [columns[path[:depth]] for depth in range(1, len(path) + 1)]
                sees_BSN[row, column - num_before, seen] = True
    rows, columns_of_rows = torch.ones((num_rows, num_new)).nonzero().unbind(1)
    logits = logits_of_steps(
        frozen, prefix, read, ids_BS, steps_BN, sees_BSN, (rows, columns_of_rows)
    )
    return logits.float().log_softmax(-1).cpu().view(num_rows, num_new, -1)


def _open_paths(searches: list[LabelSearch], rows: list[int]) -> Iterator[tuple[int, Path]]:
    for row in rows:
        path = searches[row].next_path()
        if path is not None:
            yield row, path


def _selected(read: RowsRead, rows: list[int], num_rows: int) -> RowsRead:
    """Some of the rows; all of them need no copy."""
    if len(rows) == num_rows:
        return read
    return RowsRead(
        read.cache.selected(torch.tensor(rows)), read.lengths[rows], read.log_probabilities
    )


def _padded(paths: list[Path]) -> tuple[Tensor, Tensor]:
    """Paths as int64 [B, S], right-padded with 0, and each one's last column."""
    width = max(map(len, paths))
    ids = torch.tensor([[*path, *[0] * (width - len(path))] for path in paths])
    return ids, torch.tensor([len(path) - 1 for path in paths])
