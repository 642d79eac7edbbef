"""Rows behind a prefix, read once and continued: what every score and greedy answer asks.

Legend: B rows, T tokens of a row, S new tokens behind a row, N all tokens behind a row, K keys,
C capacity, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptune_tui.engine.forward import cached_logits, logits_behind
from ptune_tui.engine.masks import attention_mask, causal_mask
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import Prefix, RowCache


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
        logits_BV = _logits_of_cache(frozen, prefix, read, num_behind, ids_BS, last_B)
    return logits_BV.float().log_softmax(-1).cpu()


def _logits_of_cache(
    frozen: FrozenModel,
    prefix: Prefix,
    read: RowsRead,
    num_behind: int,
    ids_BS: Tensor,
    last_B: Tensor,
) -> Tensor:
    num_rows, num_new = ids_BS.shape
    steps_BN = torch.arange(num_behind + num_new).expand(num_rows, -1)
    sees_SN = torch.ones((num_new, num_behind + num_new), dtype=torch.bool).tril(num_behind)
    sees_BSN = sees_SN.expand(num_rows, -1, -1)
    index = (torch.arange(num_rows), last_B)
    return logits_of_steps(frozen, prefix, read, ids_BS, steps_BN, sees_BSN, index)


def logits_of_steps(
    frozen: FrozenModel,
    prefix: Prefix,
    read: RowsRead,
    ids_BS: Tensor,
    steps_BN: Tensor,
    sees_BSN: Tensor,
    index: tuple[Tensor, Tensor],
) -> Tensor:
    """Logits behind some of the new tokens, [len(index), V] of the compute dtype.

    Args:
        frozen (FrozenModel): The model.
        prefix (Prefix): The rows' prefix.
        read (RowsRead): The rows, with a `RowCache`.
        ids_BS (Tensor): New tokens, int64 [B, S].
        steps_BN (Tensor): How far behind its row each token is, int64 [B, N]: first those that are
            in the cache already, then the new ones.
        sees_BSN (Tensor): Which of them each new token sees, bool.
        index (tuple[Tensor, Tensor]): Row and column of the new tokens that are asked about.
    """
    assert isinstance(read.cache, RowCache)
    num_rows, num_new = ids_BS.shape
    before_K = torch.arange(read.cache.position - (steps_BN.shape[1] - num_new))
    is_real_BK = before_K < prefix.length + read.lengths.unsqueeze(1)
    visible_BSK = torch.cat([is_real_BK.unsqueeze(1).expand(-1, num_new, -1), sees_BSN], dim=2)
    behind_BN = prefix.length + read.lengths.unsqueeze(1) + steps_BN
    keys_BK = torch.cat([before_K.expand(num_rows, -1), behind_BN], dim=1)
    queries_BS = behind_BN[:, -num_new:]
    distance_BSK = queries_BS.unsqueeze(2) - keys_BK.unsqueeze(1)
    return cached_logits(
        frozen.network,
        read.cache,
        ids_BS,
        index,
        attention_mask(
            frozen.network, distance_BSK.to(frozen.device), visible_BSK.to(frozen.device)
        ),
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
