"""What the layers of each model family are made of, as transformers builds them. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """How the layers of a model family are built, and what its configurations leave out.

    Attributes:
        is_gated: Whether the MLP has three matrices (gate, up, down) or two.
        is_tied: Whether the output head is the embedding where the configuration does not say.
        head_size: Where the configuration does not say; None: the hidden size over the heads.
        activation: Inside the MLP, where the configuration does not say.
        num_layer_norms: Norms of the hidden size in a layer.
        norms_have_biases: Layer norms have, root-mean-square norms have not.
        norms_heads: Whether queries and keys have a norm of the head size.
        query_biases: Whether query, key and value have biases where the configuration is silent.
        output_biases: Whether the attention's output has one wherever they have.
        mlp_biases: Whether the MLP's matrices have biases where the configuration is silent.
        position_offset: Unused rows of the table of positions; None: it has no such table.
        keeps_scores: Whether transformers writes its attention out, scores included.
        keeps_fused_queries: Whether attention reads the queries from the product that made them
            together with keys and values, so that all of it stays.
        is_fusable: Whether its layers are what the fused step computes (`engine.fused`).
    """

    is_gated: bool = True
    is_tied: bool = False
    head_size: int | None = None
    activation: str = "silu"
    num_layer_norms: int = 2
    norms_have_biases: bool = False
    norms_heads: bool = False
    query_biases: bool = False
    output_biases: bool = True
    mlp_biases: bool = False
    position_offset: int | None = None
    keeps_scores: bool = False
    keeps_fused_queries: bool = False
    is_fusable: bool = False


# What is assumed of a family that is not known here.
LLAMA_LIKE = Family()
_FUSED = Family(is_fusable=True)
_OLDER = {"is_gated": False, "norms_have_biases": True, "query_biases": True, "mlp_biases": True}
_GEMMA = {"is_tied": True, "head_size": 256, "activation": "gelu_pytorch_tanh"}
# By transformers' model type; its configuration classes are where the defaults come from.
FAMILIES = {
    "llama": _FUSED,
    "mistral": _FUSED,
    "smollm3": Family(is_tied=True),
    "phi3": LLAMA_LIKE,
    "qwen2": Family(is_fusable=True, query_biases=True, output_biases=False),
    "qwen3": Family(head_size=128, norms_heads=True),
    "gemma": Family(**_GEMMA),  # type: ignore[arg-type]
    "gemma2": Family(**_GEMMA, num_layer_norms=4, keeps_scores=True),  # type: ignore[arg-type]
    "gemma3_text": Family(**_GEMMA, num_layer_norms=4, norms_heads=True),  # type: ignore[arg-type]
    "gpt2": Family(
        **_OLDER, is_tied=True, activation="gelu_new", position_offset=0, keeps_fused_queries=True
    ),
    "gpt_neox": Family(**_OLDER, activation="gelu"),
    "opt": Family(**_OLDER, is_tied=True, activation="relu", position_offset=2),
}
