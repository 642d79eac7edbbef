"""A frozen embedding as ONNX nodes: `com.microsoft::GatherBlockQuantized` over the trained codes.

Legend: B rows, S tokens, V vocabulary, H hidden, G blocks a row.
"""

from __future__ import annotations

import numpy as np

from export.errors import UnsupportedModelError
from export.nodes import NodeWriter
from export.stored_weight import float_values
from quant.packing import QuantTensor

_ALIGNMENT = 32  # codes of a block, and of a whole row of the operator's table


def check_width(width: int) -> None:
    """Refuse an embedding whose rows are no whole blocks.

    Args:
        width (int): H.

    Raises:
        UnsupportedModelError: It is not a multiple of 32.
    """
    if width % _ALIGNMENT:
        raise UnsupportedModelError(
            f"The hidden size {width} is not a multiple of {_ALIGNMENT}.",
            f"Such a model cannot share its embedding with the head in blocks of {_ALIGNMENT}.",
        )


def look_up(nodes: NodeWriter, name: str, weight: QuantTensor, token_ids: str) -> str:
    """Nodes for `ids [B, S] -> [B, S, H]`; returns the output's name.

    Args:
        nodes (NodeWriter): Where to write.
        name (str): The weight's name in the data file.
        weight (QuantTensor): The weight [V, H], already stored.
        token_ids (str): Name of the ids, int64 below V.
    """
    scales = float_values(nodes, f"{name}.scales", weight)
    num_bytes = weight.codes.shape[1] * weight.codes.shape[2]
    table = nodes.external(f"{name}.codes", f"{name}.table", (weight.shape[0], num_bytes))
    inputs = [table, token_ids, scales]
    if weight.zero_points is not None:
        inputs.append(nodes.external(f"{name}.zero_points"))
    gathered = nodes.add(
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
    return _with_offsets(nodes, name, weight, gathered, token_ids)


def _with_offsets(
    nodes: NodeWriter, name: str, weight: QuantTensor, gathered: str, token_ids: str
) -> str:
    """Add `offset + z scale` to each block: the operator knows symmetric codes only."""
    add, constant = nodes.add, nodes.constant
    implied = constant("embedding_zero", np.array(float(1 << (weight.spec.bits - 1)), np.float32))
    scales = float_values(nodes, f"{name}.scales", weight)
    offsets = float_values(nodes, f"{name}.offsets", weight)
    shifted_VG = add("Add", [offsets, add("Mul", [scales, implied])])
    last_axis = constant("last_axis", np.array([-1], np.int64))
    shift = add("Unsqueeze", [add("Gather", [shifted_VG, token_ids], axis=0), last_axis])
    num_blocks, size = weight.scales.shape[1], weight.spec.block_size
    blocked = constant("embedding_blocks", np.array([0, 0, num_blocks, size], np.int64))
    flat = constant("embedding_flat", np.array([0, 0, num_blocks * size], np.int64))
    return add("Reshape", [add("Add", [add("Reshape", [gathered, blocked]), shift]), flat])
