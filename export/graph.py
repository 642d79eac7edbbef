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

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper
from torch import Tensor

from export.blobs import BlobFile
from export.errors import UnsupportedModelError
from export.family import DecoderSpec
from export.nodes import NodeWriter
from export.projection import (
    Precision,
    can_stack,
    deployable,
    float_values,
    project,
    stack_rows,
    store,
)
from quant.packing import FrozenWeight, QuantTensor

OPSET = 21
IR_VERSION = 10
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
NORM = "model.norm.weight"


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


def store_model(
    spec: DecoderSpec,
    weights: Mapping[str, FrozenWeight | Tensor],
    rotary: tuple[Tensor, Tensor],
    blobs: BlobFile,
    on_progress: Callable[[int, int], None] | None = None,
) -> StoredModel:
    """Write all tensors of a model into the data file.

    Args:
        spec (DecoderSpec): The model's shape.
        weights (Mapping[str, FrozenWeight | Tensor]): Frozen weights by their transformers names.
        rotary (tuple[Tensor, Tensor]): Cosines and sines, float32 [positions, D / 2].
        blobs (BlobFile): The data file to fill.
        on_progress (Callable[[int, int], None] | None): Called with layers done and their number.

    Raises:
        UnsupportedModelError: The hidden size is not a multiple of 32.
    """
    if spec.hidden_size % 32:
        raise UnsupportedModelError(
            f"The hidden size {spec.hidden_size} is not a multiple of 32.",
            "Such a model cannot share its embedding with the head in blocks of 32.",
        )
    stored: dict[str, QuantTensor] = {}

    def keep(name: str, weight: FrozenWeight | Tensor) -> None:
        if isinstance(weight, Tensor):
            raise TypeError(f"{name} is not quantised")
        stored[name] = deployable(weight)
        store(blobs, name, stored[name])

    keep(EMBEDDING, weights[EMBEDDING])
    if not spec.tied_head:
        keep(HEAD, weights[HEAD])
    for name, weight in weights.items():
        if isinstance(weight, Tensor):
            blobs.add(name, weight.float().numpy())
    blobs.add("rotary.cos", rotary[0].numpy())
    blobs.add("rotary.sin", rotary[1].numpy())
    for layer in range(spec.num_layers):
        prefix = f"model.layers.{layer}."
        for group, members in _GROUPS.items():
            parts = [_quantised(weights, f"{prefix}{member}.weight") for member in members]
            if can_stack(parts):
                keep(f"{prefix}{group}", stack_rows(parts))
            else:
                for member, part in zip(members, parts, strict=True):
                    keep(f"{prefix}{member}", part)
        if on_progress:
            on_progress(layer + 1, spec.num_layers)
    return StoredModel(spec, blobs, stored)


_GROUPS = {
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.output": ("self_attn.o_proj",),
    "mlp.gate": ("mlp.gate_proj",),
    "mlp.up": ("mlp.up_proj",),
    "mlp.down": ("mlp.down_proj",),
}


def build_graph(model: StoredModel, precision: Precision) -> ModelProto:
    """Write the graph of a stored model.

    Args:
        model (StoredModel): What `store_model` returned.
        precision (Precision): `fast` or `exact`.
    """
    writer = _DecoderWriter(model, precision)
    return writer.write()


class _DecoderWriter:
    """Writes one decoder; the methods stand in the order of the computation."""

    def __init__(self, model: StoredModel, precision: Precision) -> None:
        self.model = model
        self.spec = model.spec
        self.precision = precision
        self.nodes = NodeWriter(model.blobs)

    def write(self) -> ModelProto:
        self._positions()
        normed = residual = ""
        hidden = self._embed()
        residual = hidden
        normed = self._norm(hidden, self._weight_name(0, "input_layernorm"))
        for layer in range(self.spec.num_layers):
            attended = self._attention(normed, layer)
            if layer == self.spec.num_layers - 1:
                attended, residual = self._wanted(attended), self._wanted(residual)
            attended = self._project(attended, layer, "attention.output")
            normed, residual = self._add_norm(
                attended, residual, self._weight_name(layer, "post_attention_layernorm")
            )
            mlp = self._mlp(normed, layer)
            following = (
                NORM
                if layer == self.spec.num_layers - 1
                else self._weight_name(layer + 1, "input_layernorm")
            )
            normed, residual = self._add_norm(mlp, residual, following)
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
            outputs=["seqlens_k"],
            to=TensorProto.INT32,
        )
        total = add("Gather", [add("Shape", ["attention_mask"]), one])
        add("Cast", [total], outputs=["total_sequence_length"], to=TensorProto.INT32)
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
        return add("Where", [is_soft_BS1, soft, self._token_embeddings(token_ids)])

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

    def _attention(self, normed: str, layer: int) -> str:
        spec = self.spec
        cos, sin = self.nodes.external("rotary.cos"), self.nodes.external("rotary.sin")
        past = [f"past_key_values.{layer}.{kind}" for kind in ("key", "value")]
        present = [f"present.{layer}.{kind}" for kind in ("key", "value")]
        return self.nodes.add(
            "GroupQueryAttention",
            [
                *self._queries_keys_values(normed, layer),
                *past,
                "seqlens_k",
                "total_sequence_length",
                cos,
                sin,
            ],
            outputs=[f"attention.{layer}", *present],
            domain="com.microsoft",
            num_heads=spec.num_attention_heads,
            kv_num_heads=spec.num_key_value_heads,
            scale=spec.attention_scale,
            do_rotary=1,
            rotary_interleaved=0,
            local_window_size=spec.sliding_window,
        )

    def _queries_keys_values(self, normed: str, layer: int) -> list[str]:
        """One packed product where the three share a grid, else three."""
        if f"model.layers.{layer}.attention.qkv" in self.model.weights:
            return [self._project(normed, layer, "attention.qkv"), "", ""]
        return [self._project(normed, layer, member) for member in _GROUPS["attention.qkv"]]

    def _mlp(self, normed: str, layer: int) -> str:
        gate = self._project(normed, layer, "mlp.gate")
        up = self._project(normed, layer, "mlp.up")
        activated = self.nodes.add("Mul", [gate, self.nodes.add("Sigmoid", [gate])])
        return self._project(self.nodes.add("Mul", [activated, up]), layer, "mlp.down")

    def _head(self, normed: str) -> None:
        name = EMBEDDING if self.spec.tied_head else HEAD
        logits = project(self.nodes, name, self.model.weights[name], normed, self.precision)
        self.nodes.add("Identity", [logits], outputs=["logits"])

    def _project(self, source: str, layer: int, member: str) -> str:
        name = f"model.layers.{layer}.{member}"
        return project(self.nodes, name, self.model.weights[name], source, self.precision)

    def _wanted(self, values: str) -> str:
        """The wanted positions of [B, S, ..]: [B, N, ..]."""
        return self.nodes.add("GatherND", [values, "wanted_positions"], batch_dims=1)

    def _norm(self, hidden: str, weight: str) -> str:
        return self.nodes.add(
            "SimplifiedLayerNormalization",
            [hidden, self.nodes.external(weight)],
            axis=-1,
            epsilon=self.spec.norm_epsilon,
            stash_type=1,
        )

    def _add_norm(self, hidden: str, residual: str, weight: str) -> tuple[str, str]:
        """The norm of a sum, and the sum."""
        name = f"{weight}.of_sum"
        self.nodes.add(
            "SkipSimplifiedLayerNormalization",
            [residual, hidden, self.nodes.external(weight)],
            outputs=[f"{name}.normed", "", "", f"{name}.sum"],
            domain="com.microsoft",
            epsilon=self.spec.norm_epsilon,
        )
        return f"{name}.normed", f"{name}.sum"

    @staticmethod
    def _weight_name(layer: int, member: str) -> str:
        return f"model.layers.{layer}.{member}.weight"

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
        outputs = [
            _value("logits", TensorProto.FLOAT, ["B", "N", spec.vocab_size]),
            *self._cache_values("present", "T"),
        ]
        graph = helper.make_graph(
            self.nodes.nodes,
            f"ptune_{spec.family}_{self.precision}",
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


def _quantised(weights: Mapping[str, FrozenWeight | Tensor], name: str) -> QuantTensor:
    weight = weights[name]
    if isinstance(weight, Tensor):
        raise TypeError(f"{name} is not quantised")
    return deployable(weight)
