"""Inputs and outputs of a decoder graph, the same for every model.

Legend: B rows, S new tokens, T all tokens so far, P virtual tokens, R 1 or B, N wanted positions,
H hidden, V vocabulary, D head size.

Names and layout are those of ONNX Runtime GenAI: `input_ids` int64 [B, S], `attention_mask` int64
[B, T], `past_key_values.%d.key` float32 [B, heads, past, D] in, `logits` float32 [B, N, V] and
`present.%d.key` out. Two more inputs have defaults: `soft_prompt` float32 [P, H], addressed by ids
from V on, and `logit_positions` int64 [R, N], whose default -1 is each row's last position. With a
layout there are two without: `position_ids` int64 [1, S] and `attention_bias` float32 [1, 1, S, T]
say where each new token stands and what it sees.
Opset 21 and IR 10: onnx's own defaults are newer than what onnxruntime loads.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from export.nodes import NodeWriter
from export.shape import DecoderShape
from export.token_forest import ATTENTION_BIAS, POSITION_IDS

OPSET = 21
IR_VERSION = 10


def input_names(num_layers: int, *, has_layout: bool = False) -> list[str]:
    """Names of the inputs in their order."""
    past = _cache_names("past_key_values", num_layers)
    layout = [POSITION_IDS, ATTENTION_BIAS] if has_layout else []
    return ["input_ids", "attention_mask", *past, "soft_prompt", "logit_positions", *layout]


def output_names(num_layers: int) -> list[str]:
    """Names of the outputs in their order."""
    return ["logits", *_cache_names("present", num_layers)]


def assemble(
    nodes: NodeWriter, shape: DecoderShape, name: str, *, has_layout: bool = False
) -> ModelProto:
    """The model around nodes that read and write the names above.

    Args:
        nodes (NodeWriter): The nodes and constants of the graph.
        shape (DecoderShape): Its numbers.
        name (str): What to call it.
        has_layout (bool): Whether positions and what is seen are inputs.
    """
    nodes.constant("soft_prompt", np.zeros((1, shape.hidden_size), np.float32))
    nodes.constant("logit_positions", np.array([[-1]], np.int64))
    kinds: dict[str, tuple[int, list[str | int]]] = {
        "input_ids": (TensorProto.INT64, ["B", "S"]),
        "attention_mask": (TensorProto.INT64, ["B", "T"]),
        "soft_prompt": (TensorProto.FLOAT, ["P", shape.hidden_size]),
        "logit_positions": (TensorProto.INT64, ["R", "N"]),
        POSITION_IDS: (TensorProto.INT64, [1, "S"]),
        ATTENTION_BIAS: (TensorProto.FLOAT, [1, 1, "S", "T"]),
        "logits": (TensorProto.FLOAT, ["B", "N", shape.vocab_size]),
    }

    def value(name: str) -> ValueInfoProto:
        length = "past" if name.startswith("past") else "T"
        heads, size = shape.num_key_value_heads, shape.head_size
        kind = kinds.get(name, (TensorProto.FLOAT, ["B", heads, length, size]))
        return helper.make_tensor_value_info(name, *kind)

    graph = helper.make_graph(
        nodes.nodes,
        name,
        [value(each) for each in input_names(shape.num_layers, has_layout=has_layout)],
        [value(each) for each in output_names(shape.num_layers)],
        initializer=list(nodes.initializers.values()),
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="ptune")
    model.ir_version = IR_VERSION
    return model


def _cache_names(name: str, num_layers: int) -> list[str]:
    return [f"{name}.{layer}.{kind}" for layer in range(num_layers) for kind in ("key", "value")]
