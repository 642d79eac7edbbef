"""What the graph writer knows of a family of models: numbers and names, no code.

Legend: D head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from export.errors import UnsupportedModelError

LLAMA_FAMILIES = ("llama", "mistral")
MAX_CONTEXT = 8192  # rotary tables are stored; longer ones cost more than small models can use


@dataclass(frozen=True)
class DecoderSpec:
    """A decoder of the Llama family.

    Attributes:
        family: The model type of its configuration.
        num_layers: Decoder layers.
        hidden_size: Width of the residual stream.
        num_attention_heads: Query heads.
        num_key_value_heads: Key and value heads.
        head_size: Width of a head.
        vocab_size: Rows of the embedding; token ids from here on are virtual tokens.
        context_length: Positions the rotary tables cover.
        norm_epsilon: Of every RMS norm.
        sliding_window: Keys a query sees, or -1 for all.
        tied_head: Whether the head is the embedding.
        attention_scale: Factor on the scores.
    """

    family: str
    num_layers: int
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_size: int
    vocab_size: int
    context_length: int
    norm_epsilon: float
    sliding_window: int
    tied_head: bool
    attention_scale: float


def decoder_spec(config: Any) -> DecoderSpec:
    """Read a transformers configuration.

    Args:
        config (Any): A configuration of a causal language model.

    Raises:
        UnsupportedModelError: The family, its activation or its biases are not covered.
    """
    if config.model_type not in LLAMA_FAMILIES:
        raise UnsupportedModelError(
            f"A model of the type `{config.model_type}` cannot be exported yet.",
            f"Types that can: {', '.join(LLAMA_FAMILIES)}.",
        )
    activation = config.hidden_act
    has_bias = getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False)
    if activation not in ("silu", "swish") or has_bias:
        raise UnsupportedModelError(
            f"This {config.model_type} model has "
            f"{'biases in its projections' if has_bias else f'the activation `{activation}`'}, "
            "which the graph writer does not cover.",
            "Models with SiLU and without biases can be exported.",
        )
    head_size = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    return DecoderSpec(
        family=config.model_type,
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        head_size=head_size,
        vocab_size=config.vocab_size,
        context_length=min(config.max_position_embeddings, MAX_CONTEXT),
        norm_epsilon=config.rms_norm_eps,
        sliding_window=getattr(config, "sliding_window", None) or -1,
        tied_head=bool(config.tie_word_embeddings),
        attention_scale=head_size**-0.5,
    )


def rotary_tables(inv_freq: Tensor, scaling: float, num_positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, float32 [num_positions, D / 2], as transformers computes them.

    Args:
        inv_freq (Tensor): float32 [D / 2], of the model's rotary embedding (its scaling included).
        scaling (float): The rotary embedding's attention scaling.
        num_positions (int): Rows.
    """
    positions = torch.arange(num_positions, dtype=torch.float32)
    angles = torch.outer(positions, inv_freq.float().cpu())
    return angles.cos() * scaling, angles.sin() * scaling
