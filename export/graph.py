"""A decoder with a key/value cache as an ONNX graph, written node by node.

Legend: B rows, S new tokens, T all tokens so far, P virtual tokens, N wanted positions, H hidden,
V vocabulary, D head size.

Names and layout are those of ONNX Runtime GenAI: `input_ids` int64 [B, S], `attention_mask` int64
[B, T], `past_key_values.%d.key` float32 [B, heads, past, D] in, `logits` float32 [B, N, V] and
`present.%d.key` out. Two more inputs have defaults: `soft_prompt` float32 [P, H], addressed by ids
from V on, and `logit_positions` int64 [B or 1, N], whose default -1 is each row's last position.
Operators: `GroupQueryAttention`, `MatMulNBits`, `GatherBlockQuantized`,
`SkipSimplifiedLayerNormalization` of com.microsoft. Opset 21 and IR 10: onnx's own defaults are
newer than what onnxruntime loads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from export.blobs import BlobFile
from export.errors import UnsupportedModelError
from export.family import DecoderSpec
from export.layer_graph import (
    ATTENTION_BIAS,
    ROTARY_POSITIONS,
    SEQUENCE_LENGTHS,
    TOTAL_LENGTH,
    LayerGraph,
    norm,
    product,
)
from export.nodes import NodeWriter
from export.projection import Products, float_values
from export.stored_model import EMBEDDING, HEAD, NORM, StoredModel
from quant.packing import QuantTensor

OPSET = 21
IR_VERSION = 10
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
        has_layout (bool): Whether two more inputs say where each new token stands and what it sees:
            `position_ids` int64 [1, S] and `attention_bias` float32 [1, 1, S, T].

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
        return self._model()

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
            last = add("ReduceMax", ["position_ids"], keepdims=0)
            self._rotary_positions("position_ids", add("Add", [last, one]))
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
        return add("Where", [is_soft_BS1, soft, self._scaled(self._token_embeddings(token_ids))])

    def _scaled(self, embeddings: str) -> str:
        """Scaled where the family does; virtual tokens were trained behind the scaling."""
        if not self.spec.family.scales_embeddings:
            return embeddings
        root = np.array(self.spec.hidden_size**0.5, np.float32)
        return self.nodes.add("Mul", [embeddings, self.nodes.constant("embedding_scale", root)])

    def _token_embeddings(self, token_ids: str) -> str:
        weight = self.model.weights[EMBEDDING]
        scales = float_values(self.nodes, f"{EMBEDDING}.scales", weight)
        num_bytes = weight.codes.shape[1] * weight.codes.shape[2]
        table = self.nodes.external(
            f"{EMBEDDING}.codes", f"{EMBEDDING}.table", (weight.shape[0], num_bytes)
        )
        inputs = [table, token_ids, scales]
        if weight.zero_points is not None:
            inputs.append(self.nodes.external(f"{EMBEDDING}.zero_points"))
        gathered = self.nodes.add(
            "GatherBlockQuantized",
            inputs,
            domain="com.microsoft",
            bits=weight.spec.bits,
            block_size=weight.spec.block_size,
            gather_axis=0,
            quantize_axis=1,
        )
        if weight.offsets is None:
            return gathered
        return self._offset_embeddings(weight, gathered, token_ids, scales)

    def _offset_embeddings(
        self, weight: QuantTensor, gathered: str, token_ids: str, scales: str
    ) -> str:
        """Add `offset + z scale` to each block: the operator knows symmetric codes only."""
        add, constant = self.nodes.add, self.nodes.constant
        implied = constant(
            "embedding_zero", np.array(float(1 << (weight.spec.bits - 1)), np.float32)
        )
        offsets = float_values(self.nodes, f"{EMBEDDING}.offsets", weight)
        shifted_VG = add("Add", [offsets, add("Mul", [scales, implied])])
        last_axis = constant("last_axis", np.array([-1], np.int64))
        shift = add("Unsqueeze", [add("Gather", [shifted_VG, token_ids], axis=0), last_axis])
        num_blocks, size = weight.scales.shape[1], weight.spec.block_size
        blocked = constant("embedding_blocks", np.array([0, 0, num_blocks, size], np.int64))
        flat = constant("embedding_flat", np.array([0, 0, num_blocks * size], np.int64))
        return add("Reshape", [add("Add", [add("Reshape", [gathered, blocked]), shift]), flat])

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

    def _model(self) -> ModelProto:
        spec = self.spec
        soft_prompt = self.nodes.constant(
            "soft_prompt", np.zeros((1, spec.hidden_size), np.float32)
        )
        positions = self.nodes.constant("logit_positions", np.array([[-1]], np.int64))
        inputs = [
            _value("input_ids", TensorProto.INT64, ["B", "S"]),
            _value("attention_mask", TensorProto.INT64, ["B", "T"]),
            *self._cache_values("past_key_values", "past"),
            _value(soft_prompt, TensorProto.FLOAT, ["P", spec.hidden_size]),
            _value(positions, TensorProto.INT64, ["R", "N"]),
        ]
        if self.has_layout:
            inputs.append(_value("position_ids", TensorProto.INT64, [1, "S"]))
            inputs.append(_value(ATTENTION_BIAS, TensorProto.FLOAT, [1, 1, "S", "T"]))
        outputs = [
            _value("logits", TensorProto.FLOAT, ["B", "N", spec.vocab_size]),
            *self._cache_values("present", "T"),
        ]
        graph = helper.make_graph(
            self.nodes.nodes,
            f"ptune_{spec.model_type}",
            inputs,
            outputs,
            initializer=list(self.nodes.initializers.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="ptune")
        model.ir_version = IR_VERSION
        return model

    def _cache_values(self, name: str, length: str) -> list[ValueInfoProto]:
        shape: list[str | int] = [
            "B",
            self.spec.num_key_value_heads,
            length,
            self.spec.head_size,
        ]
        return [
            _value(f"{name}.{layer}.{kind}", TensorProto.FLOAT, shape)
            for layer in range(self.spec.num_layers)
            for kind in ("key", "value")
        ]


def _value(name: str, data_type: int, shape: list[str | int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, data_type, shape)


def _all(values: str) -> str:
    return values
