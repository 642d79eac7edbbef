"""What the graph writer knows of a family of models: numbers and names, no code.

`FAMILIES` says in which ways a family's layers are not Llama's; everything else is a number of the
configuration. A new family that differs in these ways only is one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from export.errors import UnsupportedModelError

Activation = Literal["silu", "gelu", "gelu_tanh"]

MAX_CONTEXT = 8192  # rotary tables are stored; longer ones cost more than small models can use
ROTARY = "rotary"  # the table of families that have one
_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
}


@dataclass(frozen=True)
class Family:
    """How the layers of a family differ from Llama's.

    Attributes:
        has_fused_projections: Query, key and value are one matrix, gate and up another.
        has_query_key_norm: Each head's query and key is normalised before it is rotated.
        has_sandwich_norms: Attention and MLP are normalised behind, too.
        norm_adds_one: Norms multiply by `1 + weight`.
        scales_embeddings: Embeddings are multiplied by the root of the hidden size.
        has_attention_softcap: Attention scores go through `attn_logit_softcapping`.
        rotates_by_layer_type: Sliding and full layers have rotary tables of their own.
    """

    has_fused_projections: bool = False
    has_query_key_norm: bool = False
    has_sandwich_norms: bool = False
    norm_adds_one: bool = False
    scales_embeddings: bool = False
    has_attention_softcap: bool = False
    rotates_by_layer_type: bool = False


FAMILIES = {
    "llama": Family(),
    "mistral": Family(),
    "smollm3": Family(),
    "qwen2": Family(),
    "qwen3": Family(has_query_key_norm=True),
    "phi3": Family(has_fused_projections=True),
    "gemma": Family(norm_adds_one=True, scales_embeddings=True),
    "gemma2": Family(
        has_sandwich_norms=True,
        norm_adds_one=True,
        scales_embeddings=True,
        has_attention_softcap=True,
    ),
    "gemma3_text": Family(
        has_query_key_norm=True,
        has_sandwich_norms=True,
        norm_adds_one=True,
        scales_embeddings=True,
        rotates_by_layer_type=True,
    ),
}


@dataclass(frozen=True)
class LayerSpec:
    """What may differ between the layers of one model.

    Attributes:
        sliding_window: Keys a query sees, or -1 for all.
        rotary: Its table of cosines and sines, or None where positions are not rotated in.
    """

    sliding_window: int
    rotary: str | None


@dataclass(frozen=True)
class DecoderSpec:
    """A decoder: its family's traits and its own numbers.

    Attributes:
        model_type: Of its configuration.
        family: How its layers differ from Llama's.
        layers: One entry a layer.
        hidden_size: Width of the residual stream.
        num_attention_heads: Query heads.
        num_key_value_heads: Key and value heads.
        head_size: Width of a head.
        vocab_size: Rows of the embedding; token ids from here on are virtual tokens.
        context_length: Positions the rotary tables cover.
        long_rotary_from: Sequences longer than this are rotated by a second half of the table
            (long rope), or None.
        norm_epsilon: Of every RMS norm.
        tied_head: Whether the head is the embedding.
        attention_scale: Factor on the scores.
        attention_softcap: `c tanh(score / c)`, or None.
        logit_softcap: The same of the logits, or None.
        activation: Of the MLP's gate.
    """

    model_type: str
    family: Family
    layers: tuple[LayerSpec, ...]
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_size: int
    vocab_size: int
    context_length: int
    long_rotary_from: int | None
    norm_epsilon: float
    tied_head: bool
    attention_scale: float
    attention_softcap: float | None
    logit_softcap: float | None
    activation: Activation

    @property
    def num_layers(self) -> int:
        """Decoder layers."""
        return len(self.layers)


def decoder_spec(config: Any) -> DecoderSpec:
    """Read a transformers configuration.

    Args:
        config (Any): A configuration of a causal language model.

    Raises:
        UnsupportedModelError: The family, its activation or its attention is not covered.
    """
    check_direction(config)
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise UnsupportedModelError(
            f"No graph is written by hand for a model of the type `{config.model_type}`.",
            f"Types that have one: {', '.join(FAMILIES)}.",
        )
    head_size = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    context_length = min(config.max_position_embeddings, MAX_CONTEXT)
    return DecoderSpec(
        model_type=config.model_type,
        family=family,
        layers=_layers(config, family),
        hidden_size=config.hidden_size,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        head_size=head_size,
        vocab_size=config.vocab_size,
        context_length=context_length,
        long_rotary_from=_long_rotary_from(config, context_length),
        norm_epsilon=config.rms_norm_eps,
        tied_head=bool(config.tie_word_embeddings),
        attention_scale=(getattr(config, "query_pre_attn_scalar", None) or head_size) ** -0.5,
        attention_softcap=config.attn_logit_softcapping if family.has_attention_softcap else None,
        logit_softcap=getattr(config, "final_logit_softcapping", None),
        activation=_activation(config),
    )


def check_direction(config: Any) -> None:
    """Refuse a model that does not generate from left to right.

    Args:
        config (Any): Its configuration.

    Raises:
        UnsupportedModelError: It attends in both directions.
    """
    if getattr(config, "use_bidirectional_attention", False):
        raise UnsupportedModelError(
            f"This {config.model_type} model attends in both directions.",
            "Only models that generate from left to right can be exported.",
        )


def _activation(config: Any) -> Activation:
    name = getattr(config, "hidden_activation", None) or config.hidden_act
    if name not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"This {config.model_type} model has the activation `{name}`, which the graph writer "
            "does not cover.",
            f"Activations that can be exported: {', '.join(_ACTIVATIONS)}.",
        )
    return _ACTIVATIONS[name]


def _layers(config: Any, family: Family) -> tuple[LayerSpec, ...]:
    window = getattr(config, "sliding_window", None) or -1
    default = "full_attention" if window == -1 else "sliding_attention"
    kinds = getattr(config, "layer_types", None) or [default] * config.num_hidden_layers
    unknown = set(kinds) - {"full_attention", "sliding_attention"}
    if unknown:
        raise UnsupportedModelError(
            f"This {config.model_type} model has layers of the type {sorted(unknown)[0]!r}.",
            "Models of full and sliding attention can be exported.",
        )
    is_rotated = getattr(config, "no_rope_layers", None) or [1] * len(kinds)
    return tuple(
        LayerSpec(
            sliding_window=window if kind == "sliding_attention" else -1,
            rotary=_table_name(kind, family) if rotates else None,
        )
        for kind, rotates in zip(kinds, is_rotated, strict=True)
    )


def _table_name(layer_type: str, family: Family) -> str:
    return f"{ROTARY}.{layer_type}" if family.rotates_by_layer_type else ROTARY


def _long_rotary_from(config: Any, context_length: int) -> int | None:
    parameters = getattr(config, "rope_parameters", None) or {}
    if parameters.get("rope_type") != "longrope":
        return None
    original = int(parameters["original_max_position_embeddings"])
    return original if original < context_length else None
