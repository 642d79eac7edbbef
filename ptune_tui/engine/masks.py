"""Which keys each token attends to, in the form that a model wants.

Legend: B rows, S new tokens, K keys.

A model whose layers differ (Gemma 2 and 3, Qwen, ...) takes a mask for each type of layer, any
other model one mask for all. Attention through torch's own product reads truth values; `eager`
attention adds the mask to its scores.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

Mask = Tensor | dict[str, Tensor]

_FULL, _SLIDING = "full_attention", "sliding_attention"


def causal_mask(network: Any, num_before: int, num_new: int, num_rows: int = 1) -> Mask:
    """The mask of new tokens that come behind others, for every row the same.

    Args:
        network (Any): The model.
        num_before (int): Keys before the new tokens.
        num_new (int): S.
        num_rows (int): B.

    Returns:
        [B, 1, S, num_before + S], one memory for all rows: bool, or float to be added; by layer
        type where they differ.
    """
    device = device_of(network)
    queries_S1 = torch.arange(num_before, num_before + num_new, device=device).unsqueeze(1)
    keys_K = torch.arange(num_before + num_new, device=device)
    distance_BSK = (queries_S1 - keys_K).unsqueeze(0)
    mask = attention_mask(network, distance_BSK, distance_BSK >= 0)
    if isinstance(mask, Tensor):
        return mask.expand(num_rows, -1, -1, -1)
    return {kind: part.expand(num_rows, -1, -1, -1) for kind, part in mask.items()}


def attention_mask(network: Any, distance_BSK: Tensor, visible_BSK: Tensor) -> Mask:
    """The mask of some tokens, of which each may see some keys.

    Args:
        network (Any): The model.
        distance_BSK (Tensor): How many positions each key lies before each token, int64.
        visible_BSK (Tensor): What a layer without a window sees, bool.

    Returns:
        [B, 1, S, K]: bool, or float to be added; by layer type where they differ.
    """
    config = _text_config(network)
    is_added = config._attn_implementation == "eager"
    window: int | None = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)

    def mask(is_sliding: bool) -> Tensor:
        seen_BSK = visible_BSK
        if is_sliding and window is not None:
            seen_BSK = seen_BSK & (distance_BSK < window)
        seen_B1SK = seen_BSK.unsqueeze(1)
        return _to_add(seen_B1SK, network) if is_added else seen_B1SK

    if types is None:
        return mask(is_sliding=True)
    return {layer_type: mask(layer_type == _SLIDING) for layer_type in set(types)}


def shares_prefix(network: Any) -> bool:
    """Whether every layer keeps nothing but keys and values, so that rows can share a prefix.

    The model's own cache says so. State-space and hybrid layers keep a running state, and models
    without explicit positions (ALiBi) read them off a mask that they make themselves.

    Args:
        network (Any): The model.
    """
    parameters = inspect.signature(network.forward).parameters
    if not {"past_key_values", "position_ids", "attention_mask"} <= set(parameters):
        return False
    config = _text_config(network)
    if not set(getattr(config, "layer_types", None) or ()) <= {_FULL, _SLIDING}:
        return False
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer}


def device_of(network: Any) -> torch.device:
    """Where a model computes; one without a single float parameter (OLMo) has no `device`.

    Args:
        network (Any): The model.
    """
    device: torch.device = network.get_input_embeddings().weight.device
    return device


def _text_config(network: Any) -> Any:
    return network.config.get_text_config(decoder=True)


def _to_add(seen_B1SK: Tensor, network: Any) -> Tensor:
    """0 where a key is seen and the lowest number of the model's dtype elsewhere."""
    dtype = network.get_input_embeddings().compute_dtype
    hidden = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=seen_B1SK.device)
    return torch.where(seen_B1SK, torch.zeros_like(hidden), hidden)
