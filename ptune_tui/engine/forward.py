"""Rows of tokens through the network behind a prefix, with logits only where they are wanted.

Legend: B rows, T tokens of a row, n tokens of the prefix, N wanted positions, H hidden,
V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ptune_tui.engine.masks import Mask, causal_mask, device_of
from ptune_tui.engine.prefix import Prefix, PrefixCache, RowCache, head_reads


def logits_behind(
    network: Any, prefix: Prefix, input_ids_BT: Tensor, index: tuple[Tensor, Tensor]
) -> Tensor:
    """Logits of some positions of rows behind a prefix, [N, V] of the compute dtype.

    Padding is on the right and attention is causal, so no real token ever sees it.

    Args:
        network (Any): The frozen model.
        prefix (Prefix): What comes before every row.
        input_ids_BT (Tensor): The rows, int64, right-padded.
        index (tuple[Tensor, Tensor]): Row and column of each wanted position, int64 [N] each.
    """
    num_rows, width = input_ids_BT.shape
    if prefix.embeddings_nH is not None:
        return _logits_of_whole_rows(network, prefix.embeddings_nH, input_ids_BT, index)
    return cached_logits(
        network,
        PrefixCache(prefix),
        input_ids_BT,
        index,
        causal_mask(network, prefix.length, width, num_rows),
        _positions(network, prefix.length, width),
    )


def cached_logits(
    network: Any,
    cache: PrefixCache | RowCache,
    input_ids_BT: Tensor,
    index: tuple[Tensor, Tensor],
    mask: Mask,
    position_ids: Tensor,
) -> Tensor:
    """Logits of some positions of new tokens, [N, V] of the compute dtype.

    Args:
        network (Any): The frozen model.
        cache (PrefixCache | RowCache): Keys and values of what comes before.
        input_ids_BT (Tensor): The new tokens, int64.
        index (tuple[Tensor, Tensor]): Row and column of each wanted position, int64 [N] each.
        mask (Mask): Which keys they see, of all that the cache will hold.
        position_ids (Tensor): Their positions, int64 [B, T] or [1, T].
    """
    with head_reads(network, index):
        output = network(
            input_ids=input_ids_BT.to(device_of(network)),
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        )
    logits: Tensor = output.logits[0]
    return logits


def _positions(network: Any, first: int, width: int) -> Tensor:
    """Positions from `first` on, int64 [1, width]; padding stays inside a table of positions."""
    positions = torch.arange(first, first + width, device=device_of(network))
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            # OPT's table begins with two rows that no position uses.
            last = module.num_embeddings - getattr(module, "offset", 0) - 1
            positions = positions.clamp(max=last)
    return positions.unsqueeze(0)


def _logits_of_whole_rows(
    network: Any, prefix_nH: Tensor, input_ids_BT: Tensor, index: tuple[Tensor, Tensor]
) -> Tensor:
    """The same with the prefix in front of every row again; the model makes mask and positions."""
    rows_BTH = network.get_input_embeddings()(input_ids_BT.to(device_of(network)))
    num_rows, length = input_ids_BT.shape[0], prefix_nH.shape[0]
    whole = torch.cat([prefix_nH.to(rows_BTH).expand(num_rows, -1, -1), rows_BTH], dim=1)
    with head_reads(network, (index[0], index[1] + length)):
        output = network(inputs_embeds=whole, use_cache=False)
    logits: Tensor = output.logits[0]
    return logits
