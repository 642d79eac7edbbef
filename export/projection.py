"""A frozen weight as ONNX nodes: `com.microsoft::MatMulNBits` over the trained codes.

Legend: N outputs, K inputs, G blocks a row, B rows, S tokens.

- `zero_point` and `symmetric` weights are exactly the operator's own form.
- `block_offset` weights (`scale * code + offset`) are integer zero points and a few columns more
  (`export.offset_columns`). Exactly, they are the symmetric form plus a correction: with the
  operator's implied zero point z, `x W^T = MatMulNBits(x) + blocksum(x) (offset + z scale)^T`.
- `exact` graphs compute in float32 (`accuracy_level` 0); 8-bit codes have no such kernel, so their
  weight is dequantised by nodes that onnxruntime folds at load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from export.nodes import NodeWriter
from export.offset_columns import NUM_COPIES, extended_input
from export.stored_weight import float_values
from quant.packing import QuantTensor


class Products(Protocol):
    """How the stored weights multiply."""

    def project(self, nodes: NodeWriter, name: str, source: str) -> str:
        """Nodes for `source [B, S, K] -> [B, S, N]`; returns the output's name.

        Args:
            nodes (NodeWriter): Where to write.
            name (str): The weight's name in the data file.
            source (str): Name of the input, float32 [B, S, K].
        """
        ...


@dataclass(frozen=True)
class BlockProducts:
    """Products over the codes in blocks.

    Attributes:
        weights: The stored weights by name.
        is_exact: Whether activations stay in float32; else they are quantised to 8 bits.
    """

    weights: Mapping[str, QuantTensor]
    is_exact: bool

    def project(self, nodes: NodeWriter, name: str, source: str) -> str:
        """See `Products`."""
        return project(nodes, name, self.weights[name], source, is_exact=self.is_exact)


def project(
    nodes: NodeWriter, name: str, weight: QuantTensor, source: str, *, is_exact: bool
) -> str:
    """Nodes for `source [.., K] -> [.., N]`; returns the output's name.

    Args:
        nodes (NodeWriter): Where to write.
        name (str): The weight's name in the data file.
        weight (QuantTensor): The weight, already stored.
        source (str): Name of the input, float32 [B, S, K].
        is_exact (bool): Whether activations stay in float32; else they are quantised to 8 bits.
    """
    if is_exact and weight.spec.bits == 8:
        return nodes.add("MatMul", [source, _transposed_float(nodes, name, weight)])
    if not is_exact and nodes.has(f"{name}.extended.codes"):
        return _extended_product(nodes, name, weight, source)
    inputs = [source, _codes(nodes, name, weight), _scales(nodes, name, weight)]
    if weight.zero_points is not None:
        inputs.append(nodes.external(f"{name}.zero_points"))
    product = _product(nodes, inputs, weight, weight.shape[1], accuracy_level=0 if is_exact else 4)
    if weight.offsets is None:
        return product
    correction = nodes.add(
        "MatMul", [_block_sums(nodes, source, weight), _correction(nodes, name, weight)]
    )
    return nodes.add("Add", [product, correction])


def _extended_product(nodes: NodeWriter, name: str, weight: QuantTensor, source: str) -> str:
    """The product with the columns of the offsets."""
    size = weight.spec.block_size
    inputs = [
        extended_input(nodes, source, size),
        nodes.external(f"{name}.extended.codes"),
        float_values(nodes, f"{name}.extended.scales", weight),
        nodes.external(f"{name}.extended.zero_points"),
    ]
    num_columns = weight.shape[1] + NUM_COPIES * weight.scales.shape[1]
    return _product(nodes, inputs, weight, num_columns, accuracy_level=4)


def _product(
    nodes: NodeWriter,
    inputs: list[str],
    weight: QuantTensor,
    num_columns: int,
    accuracy_level: int,
) -> str:
    return nodes.add(
        "MatMulNBits",
        inputs,
        domain="com.microsoft",
        K=num_columns,
        N=weight.shape[0],
        bits=weight.spec.bits,
        block_size=weight.spec.block_size,
        accuracy_level=accuracy_level,
    )


def _codes(nodes: NodeWriter, name: str, weight: QuantTensor) -> str:
    """The weight's own codes; the columns behind them are cut off when the graph is loaded."""
    if not nodes.has(f"{name}.extended.codes"):
        return nodes.external(f"{name}.codes")
    return _own_blocks(nodes, nodes.external(f"{name}.extended.codes"), weight)


def _scales(nodes: NodeWriter, name: str, weight: QuantTensor) -> str:
    if not nodes.has(f"{name}.extended.scales"):
        return float_values(nodes, f"{name}.scales", weight)
    scales = float_values(nodes, f"{name}.extended.scales", weight)
    return _own_blocks(nodes, scales, weight)


def _own_blocks(nodes: NodeWriter, extended: str, weight: QuantTensor) -> str:
    """The first G of the blocks [N, G + E, ..]."""
    num_blocks = weight.scales.shape[1]
    ends = [
        nodes.constant("first_block", np.array([0], np.int64)),
        nodes.constant(f"num_blocks_{num_blocks}", np.array([num_blocks], np.int64)),
        nodes.constant("block_axis", np.array([1], np.int64)),
    ]
    return nodes.once(f"{extended}.own", "Slice", [extended, *ends])


def _block_sums(nodes: NodeWriter, source: str, weight: QuantTensor) -> str:
    """Sums of the input over each block, float32 [B, S, G]; shared by all weights that read it."""
    num_blocks = weight.scales.shape[1]
    shape = nodes.constant(
        f"blocks_{num_blocks}", np.array([0, 0, num_blocks, weight.spec.block_size], np.int64)
    )
    blocks = nodes.once(f"{source}.blocks", "Reshape", [source, shape])
    axis = nodes.constant("last_axis", np.array([-1], np.int64))
    return nodes.once(f"{source}.block_sums", "ReduceSum", [blocks, axis], keepdims=0)


def _correction(nodes: NodeWriter, name: str, weight: QuantTensor) -> str:
    """`(offset + z scale)^T`, float32 [G, N], folded when the graph is loaded."""
    implied = nodes.constant(
        f"implied_zero_{weight.spec.bits}", np.array(float(1 << (weight.spec.bits - 1)), np.float32)
    )
    scales = _scales(nodes, name, weight)
    offsets = float_values(nodes, f"{name}.offsets", weight)
    shifted = nodes.add("Add", [offsets, nodes.add("Mul", [scales, implied])])
    return nodes.add("Transpose", [shifted], perm=[1, 0])


def _transposed_float(nodes: NodeWriter, name: str, weight: QuantTensor) -> str:
    """An 8-bit weight as float32 [K, N], folded when the graph is loaded."""
    num_rows, num_columns = weight.shape
    num_blocks = weight.scales.shape[1]
    nodes.external(f"{name}.codes")
    codes = nodes.add("Cast", [f"{name}.codes"], to=1)
    if weight.zero_points is None:
        zero = nodes.constant("zero_point_8", np.array(128.0, np.float32))
    else:
        nodes.external(f"{name}.zero_points")
        zero = _column(nodes, nodes.add("Cast", [f"{name}.zero_points"], to=1))
    scales = _column(nodes, float_values(nodes, f"{name}.scales", weight))
    values = nodes.add("Mul", [nodes.add("Sub", [codes, zero]), scales])
    flat = nodes.constant(
        f"rows_{num_rows}_{num_blocks}",
        np.array([num_rows, num_blocks * weight.spec.block_size], np.int64),
    )
    matrix = nodes.add("Reshape", [values, flat])
    if num_blocks * weight.spec.block_size != num_columns:
        ends = [np.array([value], np.int64) for value in (0, num_columns, 1)]
        matrix = nodes.add(
            "Slice",
            [
                matrix,
                nodes.constant("first_column", ends[0]),
                nodes.constant(f"last_column_{num_columns}", ends[1]),
                nodes.constant("column_axis", ends[2]),
            ],
        )
    return nodes.add("Transpose", [matrix], perm=[1, 0])


def _column(nodes: NodeWriter, values: str) -> str:
    axis = nodes.constant("last_axis", np.array([-1], np.int64))
    return nodes.add("Unsqueeze", [values, axis])
