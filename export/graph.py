"""A decoder with a key/value cache as an ONNX graph, written node by node.

Legend: B rows, S new tokens, T all tokens so far, P virtual tokens, N wanted positions, H hidden,
V vocabulary.

Inputs and outputs are in `export.interface`. Operators: `GroupQueryAttention`, `MatMulNBits`,
`GatherBlockQuantized`, `SkipSimplifiedLayerNormalization` of com.microsoft.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto

from export.blobs import BlobFile
from export.embedding import look_up
from export.errors import UnsupportedModelError
from export.family import DecoderSpec
from export.interface import assemble
from export.layer_graph import (
    ROTARY_POSITIONS,
    SEQUENCE_LENGTHS,
    TOTAL_LENGTH,
    LayerGraph,
    norm,
    product,
)
from export.nodes import NodeWriter
from export.projection import Products
from export.shape import DecoderShape
from export.stored_model import EMBEDDING, HEAD, NORM, StoredModel
from export.token_forest import POSITION_IDS

_FIRST_NORM = "input_layernorm.weight"


def build_graph(
    model: StoredModel,
    products: Products,
    more_blobs: Sequence[BlobFile] = (),
    *,
    has_layout: bool = False,
) -> ModelProto:
    """Write the graph of a stored model.

    Args:
        model (StoredModel): What `store_model` returned.
        products (Products): How its weights multiply.
        more_blobs (Sequence[BlobFile]): Data files beside the model's own.
        has_layout (bool): Whether positions and what each token sees are inputs.

    Raises:
        UnsupportedModelError: There is a layout, and a layer sees only a window of the last tokens.
    """
    if has_layout and not can_take_layout(model.spec):
        raise UnsupportedModelError(
            "A layer with a sliding window counts tokens in the cache, not positions.",
            "Write the graph without a layout.",
        )
    return _DecoderWriter(model, products, more_blobs, has_layout=has_layout).write()


def can_take_layout(spec: DecoderSpec) -> bool:
    """Whether rows can share a sequence: a window over the cache would cut them."""
    return all(layer.sliding_window < 0 for layer in spec.layers)


def shape_of(spec: DecoderSpec) -> DecoderShape:
    """What a runtime needs to know of a decoder that is written here."""
    return DecoderShape(
        num_layers=spec.num_layers,
        hidden_size=spec.hidden_size,
        num_key_value_heads=spec.num_key_value_heads,
        head_size=spec.head_size,
        vocab_size=spec.vocab_size,
        context_length=spec.context_length,
    )


class _DecoderWriter:
    """Writes one decoder; the methods stand in the order of the computation."""

    def __init__(
        self,
        model: StoredModel,
        products: Products,
        more_blobs: Sequence[BlobFile],
        *,
        has_layout: bool,
    ) -> None:
        self.model = model
        self.spec = model.spec
        self.products = products
        self.has_layout = has_layout
        self.nodes = NodeWriter(model.blobs, *more_blobs)

    def write(self) -> ModelProto:
        self._positions()
        residual = self._embed()
        layers = [
            LayerGraph(self.model, self.nodes, self.products, layer, self.has_layout)
            for layer in range(self.spec.num_layers)
        ]
        normed = norm(self.model, self.nodes, residual, layers[0].weight_name(_FIRST_NORM))
        following = [*(layer.weight_name(_FIRST_NORM) for layer in layers[1:]), NORM]
        for layer, following_norm in zip(layers, following, strict=True):
            wanted = self._wanted if layer is layers[-1] else _all
            normed, residual = layer.write(normed, residual, following_norm, wanted)
        self._head(normed)
        name = f"ptune_{self.spec.model_type}"
        return assemble(self.nodes, shape_of(self.spec), name, has_layout=self.has_layout)

    def _positions(self) -> None:
        """Lengths that the attention needs, and the positions whose logits are wanted."""
        add, constant = self.nodes.add, self.nodes.constant
        zero, one = constant("zero", np.array(0, np.int64)), constant("one", np.array(1, np.int64))
        row_axis = constant("row_axis", np.array([1], np.int64))
        lengths_B = add("ReduceSum", ["attention_mask", row_axis], keepdims=0)
        add(
            "Cast",
            [add("Sub", [lengths_B, one])],
            outputs=[SEQUENCE_LENGTHS],
            to=TensorProto.INT32,
        )
        total = add("Gather", [add("Shape", ["attention_mask"]), one])
        add("Cast", [total], outputs=[TOTAL_LENGTH], to=TensorProto.INT32)
        num_new = add("Gather", [add("Shape", ["input_ids"]), one])
        num_past = add("Sub", [total, num_new])
        # A short row of a ragged decoding step counts less than one new token; it has one.
        new_B = add("Max", [add("Sub", [lengths_B, num_past]), one])
        new_B1 = add("Unsqueeze", [new_B, row_axis])
        from_end = add("Add", ["logit_positions", new_B1])
        rows_B1 = add("Mul", [new_B1, zero])
        from_start = add("Add", ["logit_positions", rows_B1])
        chosen_BN = add("Where", [add("Less", ["logit_positions", zero]), from_end, from_start])
        last_axis = constant("last_axis", np.array([-1], np.int64))
        add("Unsqueeze", [chosen_BN, last_axis], outputs=["wanted_positions"])
        if self.has_layout:
            last = add("ReduceMax", [POSITION_IDS], keepdims=0)
            self._rotary_positions(POSITION_IDS, add("Add", [last, one]))
        elif self.spec.long_rotary_from is not None:
            past_B1 = add("Unsqueeze", [add("Sub", [lengths_B, new_B]), row_axis])
            new_S = add("Range", [zero, num_new, one])
            self._rotary_positions(add("Add", [past_B1, new_S]), total)

    def _rotary_positions(self, positions_BS: str, length: str) -> None:
        """Rows of the rotary table, int64 [B, S]: its second half for long sequences."""
        add, constant = self.nodes.add, self.nodes.constant
        if self.spec.long_rotary_from is None:
            add("Identity", [positions_BS], outputs=[ROTARY_POSITIONS])
            return
        limit = constant("long_rotary_from", np.array(self.spec.long_rotary_from, np.int64))
        half = constant("long_rotary_rows", np.array(self.spec.context_length, np.int64))
        zero = constant("zero", np.array(0, np.int64))
        first_row = add("Where", [add("Greater", [length, limit]), half, zero])
        add("Add", [positions_BS, first_row], outputs=[ROTARY_POSITIONS])

    def _embed(self) -> str:
        """Embeddings of tokens, and rows of the soft prompt for ids from V on: [B, S, H]."""
        add, constant = self.nodes.add, self.nodes.constant
        zero = constant("zero", np.array(0, np.int64))
        vocab = constant("vocab_size", np.array(self.spec.vocab_size, np.int64))
        is_soft = add("GreaterOrEqual", ["input_ids", vocab])
        token_ids = add("Where", [is_soft, zero, "input_ids"])
        soft_ids = add("Where", [is_soft, add("Sub", ["input_ids", vocab]), zero])
        soft = add("Gather", ["soft_prompt", soft_ids], axis=0)
        last_axis = constant("last_axis", np.array([-1], np.int64))
        is_soft_BS1 = add("Unsqueeze", [is_soft, last_axis])
        tokens = look_up(self.nodes, EMBEDDING, self.model.weights[EMBEDDING], token_ids)
        return add("Where", [is_soft_BS1, soft, self._scaled(tokens)])

    def _scaled(self, embeddings: str) -> str:
        """Scaled where the family does; virtual tokens were trained behind the scaling."""
        if not self.spec.family.scales_embeddings:
            return embeddings
        root = np.array(self.spec.hidden_size**0.5, np.float32)
        return self.nodes.add("Mul", [embeddings, self.nodes.constant("embedding_scale", root)])

    def _head(self, normed: str) -> None:
        name = EMBEDDING if self.spec.tied_head else HEAD
        logits = product(self.model, self.nodes, self.products, name, normed)
        if self.spec.logit_softcap is not None:
            cap = self.nodes.constant("logit_cap", np.array(self.spec.logit_softcap, np.float32))
            bent = self.nodes.add("Tanh", [self.nodes.add("Div", [logits, cap])])
            logits = self.nodes.add("Mul", [bent, cap])
        self.nodes.add("Identity", [logits], outputs=["logits"])

    def _wanted(self, values: str) -> str:
        """The wanted positions of [B, S, ..]: [B, N, ..]."""
        return self.nodes.add("GatherND", [values, "wanted_positions"], batch_dims=1)


def _all(values: str) -> str:
    return values
