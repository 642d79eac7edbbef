"""Which label does the model give each row? By the likelihood of the whole label and end token.

Legend: B rows, T tokens of a row, S tokens of a label path, V vocabulary.

The rows' keys and values are computed once; each round then asks, for all undecided rows at a time,
what follows the most promising beginning of a label (`export.labels`: exact, best first).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from export.labels import LabelSearch, LabelTrie
from ptune_tui.engine.batches import sorted_batches
from ptune_tui.engine.forward import cached_logits, logits_behind
from ptune_tui.engine.masks import attention_mask, causal_mask
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import Prefix, RowCache

_MAX_BATCH_TOKENS = 1536


@dataclass
class RowTokens:
    """Rows that are read again from their beginning, where a model shares no keys and values.

    Attributes:
        ids_BC: Their tokens and room for more, int64.
        position: As in `RowCache`.
    """

    ids_BC: Tensor
    position: int

    def selected(self, rows: Tensor) -> RowTokens:
        """A copy of some rows, by int64 index [b]."""
        return RowTokens(self.ids_BC[rows], self.position)


@dataclass(frozen=True)
class RowsRead:
    """Rows behind a prefix, read up to where the response begins.

    Attributes:
        cache: Their keys and values; the next tokens go behind the longest row. Or their tokens.
        lengths: Tokens of each row behind the prefix, int64 [B].
        log_probabilities: Of the next token, float32 [B, V], on the CPU.
    """

    cache: RowCache | RowTokens
    lengths: Tensor
    log_probabilities: Tensor


@torch.no_grad()
def read_rows(
    frozen: FrozenModel, prefix: Prefix, rows: Sequence[list[int]], num_reserved: int
) -> RowsRead:
    """Run rows of tokens behind a prefix.

    Args:
        frozen (FrozenModel): The model.
        prefix (Prefix): What every row attends to.
        rows (Sequence[list[int]]): Tokens of each row behind the prefix, at least one each.
        num_reserved (int): Tokens that will be asked for behind the rows.
    """
    network = frozen.network
    lengths = torch.tensor([len(row) for row in rows])
    width = int(lengths.max())
    ids_BC = torch.zeros((len(rows), width + num_reserved), dtype=torch.int64)
    for index, row in enumerate(rows):
        ids_BC[index, : len(row)] = torch.tensor(row)
    ends = (torch.arange(len(rows)), lengths - 1)
    cache: RowCache | RowTokens
    if prefix.embeddings_nH is not None:
        cache = RowTokens(ids_BC, prefix.length)
        logits_BV = logits_behind(network, prefix, ids_BC[:, :width], ends)
    else:
        cache = RowCache(prefix, prefix.length + width + num_reserved)
        positions_1T = torch.arange(prefix.length, prefix.length + width, device=frozen.device)[
            None
        ]
        mask = causal_mask(network, prefix.length, width, len(rows))
        logits_BV = cached_logits(network, cache, ids_BC[:, :width], ends, mask, positions_1T)
    cache.position += width
    return RowsRead(cache, lengths, logits_BV.float().log_softmax(-1).cpu())


@torch.no_grad()
def continue_rows(
    frozen: FrozenModel,
    prefix: Prefix,
    read: RowsRead,
    num_behind: int,
    ids_BS: Tensor,
    last_B: Tensor,
) -> Tensor:
    """Log-probabilities behind column `last_B` of new tokens, float32 [B, V], on the CPU.

    Args:
        frozen (FrozenModel): The model.
        prefix (Prefix): The rows' prefix.
        read (RowsRead): The rows.
        num_behind (int): Tokens already behind the rows in the cache.
        ids_BS (Tensor): New tokens, int64 [B, S], right-padded.
        last_B (Tensor): Column of each row's last real token, int64 [B].
    """
    if isinstance(read.cache, RowTokens):
        logits_BV = _logits_of_tokens(frozen, prefix, read, read.cache, num_behind, ids_BS, last_B)
    else:
        logits_BV = _logits_of_cache(frozen, prefix, read, read.cache, num_behind, ids_BS, last_B)
    return logits_BV.float().log_softmax(-1).cpu()


def _logits_of_cache(
    frozen: FrozenModel,
    prefix: Prefix,
    read: RowsRead,
    cache: RowCache,
    num_behind: int,
    ids_BS: Tensor,
    last_B: Tensor,
) -> Tensor:
    num_rows, num_new = ids_BS.shape
    width = cache.position - prefix.length - num_behind
    steps = torch.arange(num_behind, num_behind + num_new)
    queries_BS = prefix.length + read.lengths.unsqueeze(1) + steps
    keys_BK = torch.cat(
        [
            torch.arange(prefix.length).expand(num_rows, -1),
            prefix.length + torch.arange(width).expand(num_rows, -1),
            prefix.length + read.lengths.unsqueeze(1) + torch.arange(num_behind + num_new),
        ],
        dim=1,
    )
    is_real_BK = torch.ones_like(keys_BK, dtype=torch.bool)
    is_real_BK[:, prefix.length : prefix.length + width] = torch.arange(
        width
    ) < read.lengths.unsqueeze(1)
    distance_BSK = (queries_BS.unsqueeze(2) - keys_BK.unsqueeze(1)).to(frozen.device)
    visible_BSK = (distance_BSK >= 0) & is_real_BK.unsqueeze(1).to(frozen.device)
    return cached_logits(
        frozen.network,
        cache,
        ids_BS,
        (torch.arange(num_rows), last_B),
        attention_mask(frozen.network, distance_BSK, visible_BSK),
        queries_BS.to(frozen.device),
    )


def _logits_of_tokens(
    frozen: FrozenModel,
    prefix: Prefix,
    read: RowsRead,
    cache: RowTokens,
    num_behind: int,
    ids_BS: Tensor,
    last_B: Tensor,
) -> Tensor:
    num_rows, num_new = ids_BS.shape
    starts_B = read.lengths + num_behind
    columns_BS = starts_B.unsqueeze(1) + torch.arange(num_new)
    cache.ids_BC.scatter_(1, columns_BS, ids_BS)
    width = int(starts_B.max()) + num_new
    ends = (torch.arange(num_rows), starts_B + last_B)
    return logits_behind(frozen.network, prefix, cache.ids_BC[:, :width], ends)


def classify(
    frozen: FrozenModel,
    prefix: Prefix,
    rows: Sequence[list[int]],
    trie: LabelTrie,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[int]:
    """The label of each row.

    Args:
        frozen (FrozenModel): The model.
        prefix (Prefix): What every row attends to.
        rows (Sequence[list[int]]): Tokens of each row behind the prefix, up to the response.
        trie (LabelTrie): The labels.
        on_progress (Callable[[int, int], None] | None): Called with rows done and their number.
    """
    found = [0] * len(rows)
    num_done = 0
    for numbers in sorted_batches([len(row) for row in rows], _MAX_BATCH_TOKENS):
        labels = _classify_batch(frozen, prefix, [rows[number] for number in numbers], trie)
        for number, label in zip(numbers, labels, strict=True):
            found[number] = label
        num_done += len(numbers)
        if on_progress:
            on_progress(num_done, len(rows))
    return found


def _classify_batch(
    frozen: FrozenModel, prefix: Prefix, rows: list[list[int]], trie: LabelTrie
) -> list[int]:
    read = read_rows(frozen, prefix, rows, max(map(len, trie.labels)))
    searches = [LabelSearch(trie, row.numpy()) for row in read.log_probabilities]
    open_rows = list(range(len(rows)))
    while asked := list(_open_paths(searches, open_rows)):
        open_rows = [row for row, _ in asked]
        ids, last = _padded([path for _, path in asked])
        part = _selected(read, open_rows, len(searches))
        behind = continue_rows(frozen, prefix, part, 0, ids, last)
        for row, log_probabilities in zip(open_rows, behind, strict=True):
            searches[row].feed(log_probabilities.numpy())
    return [search.best for search in searches]


def _open_paths(
    searches: list[LabelSearch], rows: list[int]
) -> Iterator[tuple[int, tuple[int, ...]]]:
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


def _padded(paths: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Paths as int64 [B, S], right-padded with 0, and each one's last column."""
    width = max(map(len, paths))
    ids = torch.tensor([[*path, *[0] * (width - len(path))] for path in paths])
    return ids, torch.tensor([len(path) - 1 for path in paths])
