"""The weights of a Llama-like decoder as the fused step reads them.

Legend: N outputs, K inputs, H hidden, I width of the MLP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ptune_tui.engine.fused.buffers import Buffers
from quant.int8 import Int8Weight, int8_weight
from quant.linear import QuantLinear
from quant.native.passes import Heads
from quant.product import product

# Families of two RMSNorms, rotary attention and a gated MLP a layer.
_FAMILIES = ("llama", "mistral", "qwen2")
# Rotary embeddings whose frequencies do not depend on the length of the text.
_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
_VECTOR = 16
# A weight of so many elements is made floats at once; a larger one in parts of so many, whose
# products have to be put together in one more pass over the outputs.
WHOLE_ELEMENTS = 1 << 21


@dataclass(frozen=True)
class FloatWeight:
    """A weight [N, K] read as floats: a copy that is held, or one made at each use.

    Attributes:
        layers: The layers it is made of, one below the other.
        cached_NK: The copy, or None.
        bias_N: float32 [N] or None.
        dtype: Of products with floats that are made at each use; their results are float32.
    """

    layers: Sequence[QuantLinear]
    cached_NK: Tensor | None
    bias_N: Tensor | None
    dtype: torch.dtype = torch.float32

    @property
    def num_outputs(self) -> int:
        """N."""
        return sum(layer.out_features for layer in self.layers)

    def project(self, input_MK: Tensor, buffers: Buffers) -> Tensor:
        """`input weight^T`, float32 [M, N], without the bias."""
        if self.cached_NK is not None:
            return product(input_MK, self.cached_NK)
        input_MK = input_MK.to(self.dtype)
        if self._is_small:
            return product(input_MK, self._floats(buffers)).float()
        output_MN = torch.empty((len(input_MK), self.num_outputs))
        for columns, weight_nK in self._chunks(buffers):
            output_MN[:, columns] = product(input_MK, weight_nK)
        return output_MN

    def back(self, gradient_MN: Tensor, buffers: Buffers) -> Tensor:
        """`gradient weight`, float32 [M, K]."""
        if self.cached_NK is not None:
            return product(gradient_MN, self.cached_NK.t())
        gradient_MN = gradient_MN.to(self.dtype)
        if self._is_small:
            return product(gradient_MN, self._floats(buffers).t()).float()
        output_MK = torch.zeros((len(gradient_MN), self.layers[0].in_features))
        for columns, weight_nK in self._chunks(buffers):
            output_MK += product(gradient_MN[:, columns].contiguous(), weight_nK.t())
        return output_MK

    @property
    def _is_small(self) -> bool:
        return self.num_outputs * self.layers[0].in_features <= WHOLE_ELEMENTS

    def _floats(self, buffers: Buffers) -> Tensor:
        """The whole weight as floats, until the next one is asked for."""
        shape = self.num_outputs, self.layers[0].in_features
        weight_NK = buffers.get("weight", *shape, dtype=self.dtype)
        first = 0
        for layer in self.layers:
            layer.weight.dequantize(out=weight_NK[first : first + layer.out_features])
            first += layer.out_features
        return weight_NK

    def _chunks(self, buffers: Buffers) -> Iterator[tuple[slice, Tensor]]:
        """Outputs and their rows of a large weight as floats."""
        first = 0
        for layer in self.layers:
            num_rows = max(1, WHOLE_ELEMENTS // layer.in_features)
            for start in range(0, layer.out_features, num_rows):
                stop = min(start + num_rows, layer.out_features)
                shape = stop - start, layer.in_features
                weight_nK = buffers.get("weight", *shape, dtype=self.dtype)
                layer.weight.dequantize(start, stop, out=weight_nK)
                yield slice(first + start, first + stop), weight_nK
            first += layer.out_features


@dataclass(frozen=True)
class IntegerWeight:
    """A weight [N, K] in int8.

    Attributes:
        int8: Codes, scales and outlier channels.
        bias_N: float32 [N] or None.
    """

    int8: Int8Weight
    bias_N: Tensor | None

    @property
    def num_outputs(self) -> int:
        """N."""
        return self.int8.codes_NK.shape[0]


Weight = FloatWeight | IntegerWeight


@dataclass(frozen=True)
class LayerWeights:
    """One decoder layer.

    Attributes:
        input_norm_H: Of the RMSNorm before the attention.
        qkv: Query, key and value projections.
        output: Output projection of the attention.
        middle_norm_H: Of the RMSNorm before the MLP.
        gate_up: Gate and up projections.
        down: Down projection.
        epsilon: Of both norms.
        heads: The attention's shape.
    """

    input_norm_H: Tensor
    qkv: Weight
    output: Weight
    middle_norm_H: Tensor
    gate_up: Weight
    down: Weight
    epsilon: float
    heads: Heads


def unsupported_reason(network: Any) -> str | None:
    """Why the fused step does not cover a network; None where it does."""
    config = network.config
    if config.model_type not in _FAMILIES:
        return f"the family {config.model_type} runs through transformers' own layers"
    attention = network.model.layers[0].self_attn
    if attention.head_dim % _VECTOR:
        return f"a head size of {attention.head_dim} is no multiple of {_VECTOR}"
    if network.model.rotary_emb.rope_type not in _ROPE_TYPES:
        return f"its rotary embedding is of the type {network.model.rotary_emb.rope_type}"
    if config.hidden_act != "silu":
        return f"its MLP uses {config.hidden_act}"
    return None


def read_layers(
    network: Any,
    kernel: str,
    outliers: Mapping[str, Sequence[int]],
    dtype: torch.dtype = torch.float32,
) -> list[LayerWeights]:
    """The layers of a network that `unsupported_reason` has nothing against.

    Args:
        network (Any): transformers model over `QuantLinear`.
        kernel (str): `stream`, `cached` or `int8`.
        outliers (Mapping[str, Sequence[int]]): Outlier channels by the name of a linear layer.
        dtype (torch.dtype): Of the products where the kernel is `stream`.
    """
    found = []
    for number, layer in enumerate(network.model.layers):
        attention, mlp = layer.self_attn, layer.mlp

        def read(*modules: QuantLinear, name: str, path: str = f"model.layers.{number}.") -> Weight:
            channels = outliers.get(path + name, ())
            return _read(modules, kernel, channels, dtype)

        found.append(
            LayerWeights(
                input_norm_H=layer.input_layernorm.weight.detach(),
                qkv=read(
                    *(attention.q_proj, attention.k_proj, attention.v_proj),
                    name="self_attn.q_proj",
                ),
                output=read(attention.o_proj, name="self_attn.o_proj"),
                middle_norm_H=layer.post_attention_layernorm.weight.detach(),
                gate_up=read(mlp.gate_proj, mlp.up_proj, name="mlp.gate_proj"),
                down=read(mlp.down_proj, name="mlp.down_proj"),
                epsilon=float(layer.input_layernorm.variance_epsilon),
                heads=_heads(network.config, attention, number),
            )
        )
    return found


def _heads(config: Any, attention: Any, number: int) -> Heads:
    window = getattr(config, "sliding_window", None) or 0
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None and layer_types[number] != "sliding_attention":
        window = 0
    return Heads(
        num_key_value_heads=config.num_key_value_heads,
        num_query_heads=config.num_attention_heads,
        head_size=attention.head_dim,
        scale=float(attention.scaling),
        window=window,
    )


def _read(
    modules: Sequence[QuantLinear], kernel: str, channels: Sequence[int], dtype: torch.dtype
) -> Weight:
    biases = [module.bias for module in modules if module.bias is not None]
    bias_N = torch.cat(biases).float() if biases else None
    if kernel == "int8":
        return IntegerWeight(int8_weight([module.weight for module in modules], channels), bias_N)
    if kernel == "stream":
        return FloatWeight(modules, None, bias_N, dtype)
    return FloatWeight(modules, _joined_copy(modules), bias_N)


def _joined_copy(modules: Sequence[QuantLinear]) -> Tensor:
    """The copies of several layers in one memory, of which each layer keeps its own part."""
    if len(modules) == 1 and modules[0].cached_NK is not None:
        return modules[0].cached_NK
    num_outputs = sum(module.out_features for module in modules)
    joined_NK = torch.empty((num_outputs, modules[0].in_features))
    first = 0
    for module in modules:
        part = joined_NK[first : first + module.out_features]
        module.weight.dequantize(out=part)
        module.set_copy(part)
        first += module.out_features
    return joined_NK
