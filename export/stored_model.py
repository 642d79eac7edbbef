"""A model's tensors in the data file, grouped and named as the graphs read them.

Legend: V vocabulary, H hidden.

Weights that read the same input and share a grid are stored as one, so that one product serves
them. Norms that multiply by `1 + weight` are stored as that sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from export.blobs import BlobFile
from export.embedding import check_width
from export.family import DecoderSpec
from export.rotary import RotaryTable
from export.stored_weight import can_stack, deployable, stack_rows, store, store_matrix
from quant.packing import FrozenWeight, QuantTensor

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
NORM = "model.norm.weight"

QUERY_KEY_VALUE = "attention.qkv"
QUERY_KEY_VALUE_MEMBERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
OUTPUT = "attention.output"
GATE_UP = "mlp.gate_up"
GATE_UP_MEMBERS = ("mlp.gate_proj", "mlp.up_proj")
DOWN = "mlp.down"

_PLAIN_GROUPS = {
    QUERY_KEY_VALUE: QUERY_KEY_VALUE_MEMBERS,
    OUTPUT: ("self_attn.o_proj",),
    GATE_UP: GATE_UP_MEMBERS,
    DOWN: ("mlp.down_proj",),
}
_FUSED_GROUPS = {
    QUERY_KEY_VALUE: ("self_attn.qkv_proj",),
    OUTPUT: ("self_attn.o_proj",),
    GATE_UP: ("mlp.gate_up_proj",),
    DOWN: ("mlp.down_proj",),
}

Weights = Mapping[str, FrozenWeight | Tensor]


@dataclass(frozen=True)
class StoredModel:
    """A model whose tensors are in the data file.

    Attributes:
        spec: Its shape.
        blobs: The data file.
        weights: The frozen weights by the name they are stored under.
    """

    spec: DecoderSpec
    blobs: BlobFile
    weights: dict[str, QuantTensor]

    def has_bias(self, name: str) -> bool:
        """Whether a product of this weight adds a bias, stored as `NAME.bias`."""
        return f"{name}.bias" in self.blobs.blobs


@dataclass(frozen=True)
class _Matrix:
    """A weight under the name the graphs read it by, and its bias, float32 [N]."""

    name: str
    weight: QuantTensor
    bias: Tensor | None = None


def store_model(
    spec: DecoderSpec,
    weights: Weights,
    rotary: Mapping[str, RotaryTable],
    blobs: BlobFile,
    on_progress: Callable[[int, int], None] | None = None,
) -> StoredModel:
    """Write all tensors of a model into the data file.

    Args:
        spec (DecoderSpec): The model's shape.
        weights (Weights): Frozen weights by their transformers names.
        rotary (Mapping[str, RotaryTable]): Cosines and sines by the names the layers give them.
        blobs (BlobFile): The data file to fill.
        on_progress (Callable[[int, int], None] | None): Called with layers done and their number.

    Raises:
        UnsupportedModelError: The hidden size is not a multiple of 32.
    """
    check_width(spec.hidden_size)
    stored: dict[str, QuantTensor] = {}

    def keep(matrix: _Matrix) -> None:
        stored[matrix.name] = matrix.weight
        # Rows of an embedding are read, too, and have no columns to spare.
        write = store if matrix.name == EMBEDDING else store_matrix
        write(blobs, matrix.name, matrix.weight)
        if matrix.bias is not None:
            blobs.add(f"{matrix.name}.bias", matrix.bias.float().numpy())

    for name in (EMBEDDING,) if spec.tied_head else (EMBEDDING, HEAD):
        keep(_Matrix(name, _quantised(weights, name), _bias(weights, [name])))
    for name, weight in weights.items():
        if isinstance(weight, Tensor) and name.endswith("norm.weight"):
            values = weight.float() + 1.0 if spec.family.norm_adds_one else weight.float()
            blobs.add(name, values.numpy())
    for name, table in rotary.items():
        blobs.add(f"{name}.cos", table.cos.numpy())
        blobs.add(f"{name}.sin", table.sin.numpy())
    for layer in range(spec.num_layers):
        for matrix in _layer_matrices(weights, f"model.layers.{layer}.", spec):
            keep(matrix)
        if on_progress:
            on_progress(layer + 1, spec.num_layers)
    return StoredModel(spec, blobs, stored)


def _layer_matrices(weights: Weights, prefix: str, spec: DecoderSpec) -> Iterator[_Matrix]:
    is_fused = spec.family.has_fused_projections
    for group, members in (_FUSED_GROUPS if is_fused else _PLAIN_GROUPS).items():
        yield from _group(weights, prefix, group, members)


def _group(
    weights: Weights, prefix: str, group: str, members: tuple[str, ...]
) -> Iterator[_Matrix]:
    names = [f"{prefix}{member}.weight" for member in members]
    parts = [_quantised(weights, name) for name in names]
    if can_stack(parts):
        yield _Matrix(f"{prefix}{group}", stack_rows(parts), _bias(weights, names))
        return
    for member, name, part in zip(members, names, parts, strict=True):
        yield _Matrix(f"{prefix}{member}", part, _bias(weights, [name]))


def _bias(weights: Weights, names: list[str]) -> Tensor | None:
    """The biases of weights one behind the other, float32; zeros where only some have one."""
    found = [weights.get(f"{name.removesuffix('weight')}bias") for name in names]
    if all(bias is None for bias in found):
        return None
    return torch.cat(
        [
            bias.float() if isinstance(bias, Tensor) else torch.zeros(weights[name].shape[0])
            for name, bias in zip(names, found, strict=True)
        ]
    )


def _quantised(weights: Weights, name: str) -> QuantTensor:
    weight = weights[name]
    if isinstance(weight, Tensor):
        raise TypeError(f"{name} is not quantised")
    return deployable(weight)
