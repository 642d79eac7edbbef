"""The inputs and outputs of a graph around a transformers model, as torch's exporter follows them.

Legend: B rows, S new tokens, T all tokens so far, K keys (as many as T), P virtual tokens,
N wanted positions, H hidden, V vocabulary, h key/value heads, D head size.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from export.shape import DecoderShape


class TracedDecoder(nn.Module):
    """The inputs and outputs of `export.interface` around a transformers model.

    A row's mask may have gaps: positions count what it lets through. Windows of attention count
    columns, padding included, as transformers does.

    Args:
        network (Any): The model.
        shape (DecoderShape): Its numbers.
    """

    def __init__(self, network: Any, shape: DecoderShape) -> None:
        super().__init__()
        self.network = network
        self.vocab_size = shape.vocab_size
        self.takes_positions = "position_ids" in inspect.signature(network.forward).parameters

    def forward(
        self,
        input_ids_BS: Tensor,
        attention_mask_BT: Tensor,
        past_BhTD: list[Tensor],
        soft_prompt_PH: Tensor,
        logit_positions_BN: Tensor,
    ) -> tuple[Tensor, ...]:
        """Logits [B, N, V] and the present keys and values [B, h, T, D] of each layer."""
        num_new, num_past = input_ids_BS.shape[1], past_BhTD[0].shape[2]
        # Gathered, so that its length is the number of keys and no other number.
        columns_K = torch.arange(num_past + num_new)
        mask_BK = attention_mask_BT.index_select(1, columns_K)
        positions = {}
        if self.takes_positions:
            positions_BK = (mask_BK.cumsum(1) - 1).clamp(min=0)
            columns_S = torch.arange(num_new) + num_past
            positions = {"position_ids": positions_BK.index_select(1, columns_S)}
        cache = _cache_of(past_BhTD)
        wanted_BN = _wanted(mask_BK, num_past, logit_positions_BN)
        with _head_reads(self.network, wanted_BN):
            output = self.network(
                inputs_embeds=self._embed(input_ids_BS, soft_prompt_PH),
                attention_mask=mask_BK,
                past_key_values=cache,
                use_cache=True,
                **positions,
            )
        present = [part for layer in cache.layers for part in (layer.keys, layer.values)]
        return (output.logits, *present)

    def _embed(self, input_ids_BS: Tensor, soft_prompt_PH: Tensor) -> Tensor:
        """Embeddings of tokens, and rows of the soft prompt for ids from V on: [B, S, H]."""
        is_soft_BS = input_ids_BS >= self.vocab_size
        token_ids = torch.where(is_soft_BS, 0, input_ids_BS)
        soft_ids = torch.where(is_soft_BS, input_ids_BS - self.vocab_size, 0)
        tokens_BSH = self.network.get_input_embeddings()(token_ids)
        soft_BSH = nn.functional.embedding(soft_ids, soft_prompt_PH)
        return torch.where(is_soft_BS.unsqueeze(-1), soft_BSH, tokens_BSH)


def _wanted(mask_BK: Tensor, num_past: int, logit_positions_BN: Tensor) -> Tensor:
    """Which new tokens to return logits for, int64 [B, N]: negative ones count from a row's end."""
    # A short row of a ragged decoding step counts less than one new token; it has one.
    new_B1 = (mask_BK.sum(1, keepdim=True) - num_past).clamp(min=1)
    is_from_end = logit_positions_BN < 0
    return torch.where(is_from_end, logit_positions_BN + new_B1, logit_positions_BN)


@contextmanager
def _head_reads(network: Any, wanted_BN: Tensor) -> Iterator[None]:
    """Let the output head see the wanted positions only."""

    def gather(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_BSH = arguments[0]
        index_BNH = wanted_BN.unsqueeze(-1).expand(-1, -1, hidden_BSH.shape[-1])
        return (hidden_BSH.gather(1, index_BNH), *arguments[1:])

    hook = network.get_output_embeddings().register_forward_pre_hook(gather)
    try:
        yield
    finally:
        hook.remove()


def _cache_of(past_BhTD: list[Tensor]) -> Cache:
    """A cache of transformers that holds a past already: keys and values of each layer in turn."""
    layers = []
    for keys, values in zip(past_BhTD[::2], past_BhTD[1::2], strict=True):
        layer = DynamicLayer()
        layer.dtype, layer.device = keys.dtype, keys.device
        layer.keys, layer.values, layer.is_initialized = keys, values, True
        layers.append(layer)
    return Cache(layers=layers)
