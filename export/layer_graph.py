"""One decoder layer as nodes: attention, MLP, and the norms around them.

Legend: B rows, S new tokens, H hidden, D head size, h heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from export.family import LayerSpec
from export.nodes import NodeWriter
from export.projection import Products
from export.stored_model import (
    DOWN,
    GATE_UP,
    GATE_UP_MEMBERS,
    OUTPUT,
    QUERY_KEY_VALUE,
    QUERY_KEY_VALUE_MEMBERS,
    StoredModel,
)
from export.token_forest import ATTENTION_BIAS

SEQUENCE_LENGTHS = "seqlens_k"
TOTAL_LENGTH = "total_sequence_length"
ROTARY_POSITIONS = "rotary_positions"


@dataclass(frozen=True)
class LayerGraph:
    """Writes one layer.

    Attributes:
        model: The stored model.
        nodes: Where to write.
        products: How its weights multiply.
        layer: Its number.
        has_layout: Whether positions and what is seen are inputs of the graph.
    """

    model: StoredModel
    nodes: NodeWriter
    products: Products
    layer: int
    has_layout: bool = False

    @property
    def spec(self) -> LayerSpec:
        """What is this layer's own."""
        return self.model.spec.layers[self.layer]

    def weight_name(self, member: str) -> str:
        """What the data file calls a weight of this layer."""
        return f"model.layers.{self.layer}.{member}"

    def write(
        self, normed: str, residual: str, following_norm: str, wanted: Callable[[str], str]
    ) -> tuple[str, str]:
        """The layer behind its first norm.

        Args:
            normed (str): float32 [B, S, H].
            residual (str): float32 [B, S, H].
            following_norm (str): The norm that reads the layer's output.
            wanted (Callable[[str], str]): Takes the positions that are read later out of
                [B, S, ..]; all but the last layer keep them all.

        Returns:
            tuple[str, str]: The output behind the following norm, and the residual stream.
        """
        attended = self._project(wanted(self._attention(normed)), OUTPUT)
        residual = wanted(residual)
        if self.model.spec.family.has_sandwich_norms:
            attended = self._own_norm(attended, "post_attention_layernorm")
            before_mlp = "pre_feedforward_layernorm"
        else:
            before_mlp = "post_attention_layernorm"
        normed, residual = add_norm(
            *(self.model, self.nodes, attended, residual),
            self.weight_name(f"{before_mlp}.weight"),
        )
        output = self._mlp(normed)
        if self.model.spec.family.has_sandwich_norms:
            output = self._own_norm(output, "post_feedforward_layernorm")
        return add_norm(self.model, self.nodes, output, residual, following_norm)

    def _attention(self, normed: str) -> str:
        spec = self.model.spec
        table = self.spec.rotary
        past = [f"past_key_values.{self.layer}.{kind}" for kind in ("key", "value")]
        present = [f"present.{self.layer}.{kind}" for kind in ("key", "value")]
        inputs = [*self._queries_keys_values(normed), *past, SEQUENCE_LENGTHS, TOTAL_LENGTH]
        has_positions = self.has_layout or spec.long_rotary_from is not None
        parts = ["", ""]
        if table is not None:
            parts = [self.nodes.external(f"{table}.{part}") for part in ("cos", "sin")]
        inputs += [*parts, ROTARY_POSITIONS if table is not None and has_positions else ""]
        inputs.append(ATTENTION_BIAS if self.has_layout else "")
        while not inputs[-1]:
            inputs.pop()
        return self.nodes.add(
            "GroupQueryAttention",
            inputs,
            outputs=[f"attention.{self.layer}", *present],
            domain="com.microsoft",
            num_heads=spec.num_attention_heads,
            kv_num_heads=spec.num_key_value_heads,
            scale=spec.attention_scale,
            softcap=spec.attention_softcap or 0.0,
            do_rotary=int(table is not None),
            rotary_interleaved=0,
            local_window_size=self.spec.sliding_window,
        )

    def _queries_keys_values(self, normed: str) -> list[str]:
        """One packed product where the three share a grid, else three."""
        is_packed = self.weight_name(QUERY_KEY_VALUE) in self.model.weights
        if not self.model.spec.family.has_query_key_norm:
            if is_packed:
                return [self._project(normed, QUERY_KEY_VALUE), "", ""]
            return [self._project(normed, member) for member in QUERY_KEY_VALUE_MEMBERS]
        if is_packed:
            spec = self.model.spec
            keys = spec.num_key_value_heads * spec.head_size
            sizes = {"query": spec.num_attention_heads * spec.head_size, "key": keys, "value": keys}
            query, key, value = self._split(self._project(normed, QUERY_KEY_VALUE), sizes)
        else:
            query, key, value = (
                self._project(normed, member) for member in QUERY_KEY_VALUE_MEMBERS
            )
        return [
            self._head_norm(query, "self_attn.q_norm"),
            self._head_norm(key, "self_attn.k_norm"),
            value,
        ]

    def _split(self, packed: str, sizes: dict[str, int]) -> list[str]:
        """Parts of the last axis, by their names."""
        name = f"sizes_of_{'_'.join(sizes)}"
        lengths = self.nodes.constant(name, np.array(list(sizes.values()), np.int64))
        outputs = [f"{packed}.{part}" for part in sizes]
        self.nodes.add("Split", [packed, lengths], outputs=outputs, axis=-1)
        return outputs

    def _head_norm(self, packed: str, member: str) -> str:
        """Norm every head of [B, S, h D] by itself."""
        head_size = self.model.spec.head_size
        apart = self.nodes.constant("heads_apart", np.array([0, 0, -1, head_size], np.int64))
        together = self.nodes.constant("heads_together", np.array([0, 0, -1], np.int64))
        heads = self.nodes.add("Reshape", [packed, apart])
        return self.nodes.add("Reshape", [self._own_norm(heads, member), together])

    def _mlp(self, normed: str) -> str:
        if self.weight_name(GATE_UP) in self.model.weights:
            packed = self._project(normed, GATE_UP)
            half = self.model.weights[self.weight_name(GATE_UP)].shape[0] // 2
            gate, up = self._split(packed, {"gate": half, "up": half})
        else:
            gate, up = (self._project(normed, member) for member in GATE_UP_MEMBERS)
        return self._project(self.nodes.add("Mul", [self._activated(gate), up]), DOWN)

    def _activated(self, gate: str) -> str:
        activation = self.model.spec.activation
        if activation == "silu":
            return self.nodes.add("Mul", [gate, self.nodes.add("Sigmoid", [gate])])
        approximate = "tanh" if activation == "gelu_tanh" else "none"
        return self.nodes.add("Gelu", [gate], approximate=approximate)

    def _own_norm(self, values: str, member: str) -> str:
        return norm(self.model, self.nodes, values, self.weight_name(f"{member}.weight"))

    def _project(self, source: str, member: str) -> str:
        return product(self.model, self.nodes, self.products, self.weight_name(member), source)


def product(
    model: StoredModel, nodes: NodeWriter, products: Products, name: str, source: str
) -> str:
    """A stored weight's product with `source`, its bias added."""
    values = products.project(nodes, name, source)
    if not model.has_bias(name):
        return values
    return nodes.add("Add", [values, nodes.external(f"{name}.bias")])


def norm(model: StoredModel, nodes: NodeWriter, values: str, weight: str) -> str:
    """The RMS norm over the last axis."""
    return nodes.add(
        "SimplifiedLayerNormalization",
        [values, nodes.external(weight)],
        axis=-1,
        epsilon=model.spec.norm_epsilon,
        stash_type=1,
    )


def add_norm(
    model: StoredModel, nodes: NodeWriter, hidden: str, residual: str, weight: str
) -> tuple[str, str]:
    """The norm of a sum, and the sum."""
    name = f"{weight}.of_sum"
    nodes.add(
        "SkipSimplifiedLayerNormalization",
        [residual, hidden, nodes.external(weight)],
        outputs=[f"{name}.normed", "", "", f"{name}.sum"],
        domain="com.microsoft",
        epsilon=model.spec.norm_epsilon,
    )
    return f"{name}.normed", f"{name}.sum"
