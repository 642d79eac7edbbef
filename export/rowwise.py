"""Products in whole 8-bit integers: weights by output channels, activations row by row.

Legend: N outputs, K inputs, L loud input channels, B rows, S tokens.

The integers are made of the very codes that were trained on. Input channels that are much louder
than the others would eat up a row's 127 levels, so they stay in floats (LLM.int8(), Dettmers 2022,
https://arxiv.org/abs/2208.07339): every eighteenth, in front of the MLP's last product every
twelfth (docs/decisions.md). That product of the first and of the last layer makes half of the
error of all, so it stays in floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from export.blobs import BlobFile
from export.nodes import NodeWriter
from export.projection import BlockProducts, Products
from export.stored_model import (
    DOWN,
    GATE_UP,
    GATE_UP_MEMBERS,
    OUTPUT,
    QUERY_KEY_VALUE,
    QUERY_KEY_VALUE_MEMBERS,
    StoredModel,
)
from quant.int8 import LEVELS, int8_weight

Loudness = Mapping[str, Tensor]
"""Sums of squares over the inputs of linear layers, float32 [K], by transformers' module name."""

_SMALLEST = np.float32(1e-30)  # a row of zeros is not divided by zero


@dataclass(frozen=True)
class _Role:
    """Products that read one kind of input.

    Attributes:
        names: What the stored weights are called within their layer.
        modules: What transformers calls a linear layer with this input; the first that is there.
        channels_per_loud: Of so many input channels one stays in floats; 0 for none.
    """

    names: tuple[str, ...]
    modules: tuple[str, ...]
    channels_per_loud: int


_ROLES = (
    _Role(
        (QUERY_KEY_VALUE, *QUERY_KEY_VALUE_MEMBERS),
        ("self_attn.q_proj", "self_attn.qkv_proj"),
        18,
    ),
    _Role((OUTPUT,), ("self_attn.o_proj",), 18),
    _Role((GATE_UP, *GATE_UP_MEMBERS), ("mlp.gate_proj", "mlp.gate_up_proj"), 18),
    _Role((DOWN,), ("mlp.down_proj",), 12),
)


@dataclass(frozen=True)
class Inputs:
    """The input channels of a weight.

    Attributes:
        num_channels: K.
        loud: Those that stay in floats, ascending.
    """

    num_channels: int
    loud: list[int]


@dataclass(frozen=True)
class RowwiseProducts:
    """Integer products of the layers; the others are as in another precision.

    Attributes:
        inputs: The inputs of a weight in integers, by its name.
        in_floats: Weights of the layers that integers would harm.
        floats: Their products.
        others: The products of the head.
    """

    inputs: dict[str, Inputs]
    in_floats: frozenset[str]
    floats: Products
    others: Products

    def project(self, nodes: NodeWriter, name: str, source: str) -> str:
        """Nodes for `source [B, S, K] -> [B, S, N]`; returns the output's name.

        Row by row the source is divided by its largest value, so that one scale serves all rows in
        `QuantizeLinear` and in com.microsoft's `MatMulIntegerToFloat`, and multiplied in the end.
        """
        if name in self.in_floats:
            return self.floats.project(nodes, name, source)
        if name not in self.inputs:
            return self.others.project(nodes, name, source)
        inputs = self.inputs[name]
        codes, peaks = _quantised_rows(nodes, source, inputs)
        level = nodes.constant("level", np.array(1 / LEVELS, np.float32))
        product = nodes.add(
            "MatMulIntegerToFloat",
            [
                codes,
                nodes.external(f"{name}.integers"),
                level,
                nodes.external(f"{name}.integer_scales"),
                nodes.constant("middle", np.array(128, np.uint8)),
            ],
            domain="com.microsoft",
        )
        values = nodes.add("Mul", [product, peaks])
        if not inputs.loud:
            return values
        channels = nodes.constant(f"{source}.loud_channels", np.array(inputs.loud, np.int64))
        floats = nodes.once(f"{source}.loud", "Gather", [source, channels], axis=-1)
        weights = nodes.external(f"{name}.loud_weights")
        return nodes.add("Add", [values, nodes.add("MatMul", [floats, weights])])


def store_integers(model: StoredModel, loudness: Loudness, blobs: BlobFile) -> RowwiseProducts:
    """Write the integers of the layers' weights into a data file.

    Args:
        model (StoredModel): The model, stored on its own grid.
        loudness (Loudness): How loud the inputs are, behind a prompt.
        blobs (BlobFile): The data file to fill.
    """
    ends = (0, model.spec.num_layers - 1)
    in_floats = frozenset(f"model.layers.{layer}.{DOWN}" for layer in ends)
    inputs: dict[str, Inputs] = {}
    for layer in range(model.spec.num_layers):
        prefix = f"model.layers.{layer}."
        for role in _ROLES:
            channels = _loudest(role, prefix, loudness)
            for name in (f"{prefix}{name}" for name in role.names):
                if name in model.weights and name not in in_floats:
                    inputs[name] = Inputs(model.weights[name].shape[1], channels)
                    _store(model, name, channels, blobs)
    return RowwiseProducts(
        inputs,
        in_floats,
        floats=BlockProducts(model.weights, is_exact=True),
        others=BlockProducts(model.weights, is_exact=False),
    )


def _store(model: StoredModel, name: str, channels: list[int], blobs: BlobFile) -> None:
    weight = int8_weight([model.weights[name]], channels)
    blobs.add(f"{name}.integers", np.ascontiguousarray(weight.codes_NK.t().numpy()))
    blobs.add(f"{name}.integer_scales", weight.scales_N.numpy())
    if channels:
        blobs.add(f"{name}.loud_weights", weight.outlier_weights_nN.numpy())


def _loudest(role: _Role, prefix: str, loudness: Loudness) -> list[int]:
    if not role.channels_per_loud:
        return []
    module = next(name for name in role.modules if f"{prefix}{name}" in loudness)
    squares_K = loudness[f"{prefix}{module}"]
    num_loud = -(-len(squares_K) // role.channels_per_loud)
    return sorted(squares_K.topk(num_loud).indices.tolist())


def _quantised_rows(nodes: NodeWriter, source: str, inputs: Inputs) -> tuple[str, str]:
    """uint8 codes around 128 [B, S, K] and the rows' largest values, float32 [B, S, 1]."""
    quiet = source
    if inputs.loud:
        mask_K = np.ones(inputs.num_channels, np.float32)
        mask_K[inputs.loud] = 0.0
        quiet = nodes.once(
            f"{source}.quiet", "Mul", [source, nodes.constant(f"{source}.is_quiet", mask_K)]
        )
    last_axis = nodes.constant("last_axis", np.array([-1], np.int64))
    absolute = nodes.once(f"{source}.absolute", "Abs", [quiet])
    peak = nodes.once(f"{source}.peak", "ReduceMax", [absolute, last_axis], keepdims=1)
    smallest = nodes.constant("smallest_peak", np.array(_SMALLEST, np.float32))
    peaks = nodes.once(f"{source}.peaks", "Max", [peak, smallest])
    scaled = nodes.once(f"{source}.scaled", "Div", [quiet, peaks])
    level = nodes.constant("level", np.array(1 / LEVELS, np.float32))
    middle = nodes.constant("middle", np.array(128, np.uint8))
    return nodes.once(f"{source}.codes", "QuantizeLinear", [scaled, level, middle]), peaks
