"""One tensor of a checkpoint into its frozen form, with its report.

Legend: N output rows, K input columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from quant.checkpoint import WeightSource
from quant.errors import QuantError
from quant.int4 import RowReader, quantize_rows
from quant.nf4 import quantize_rows_nf4
from quant.packing import FrozenWeight, QuantSpec, QuantTensor
from quant.report import LayerReport

Scheme = Literal["int4", "nf4"]
Grid = QuantSpec | Literal["nf4"]

INT4 = QuantSpec(4, 32, "zero_point")
INT8 = QuantSpec(8, 32, "zero_point")  # embedding and head: what errs here, errs in every token

# Floats read at once, 2 MiB. Peak over the quantised model: 20 MiB (int4) and 39 MiB (nf4); with
# 8 MiB it was 130 and no faster.
CHUNK_ELEMENTS = 1 << 19


@dataclass(frozen=True)
class StoredAs:
    """Where a parameter is in a checkpoint.

    Attributes:
        name: What the checkpoint calls it.
        is_transposed: Whether it is stored [K, N], as GPT-2's layers are.
    """

    name: str
    is_transposed: bool = False


def read_matrix(
    source: WeightSource, name: str, stored: StoredAs, shape: tuple[int, int], grid: Grid
) -> tuple[FrozenWeight, LayerReport]:
    """Reads a matrix; one that the file has on a grid of ours stays as it is.

    Args:
        source: The checkpoint.
        name: The model's name, for the report.
        stored: The checkpoint's name and order.
        shape: (N, K) that the model expects.
        grid: What float matrices are put on.

    Raises:
        QuantError: If the tensor has another shape or type, or values that fit no grid.
    """
    _check_shape(source, stored.name, shape[::-1] if stored.is_transposed else shape)
    on_grid = None if stored.is_transposed else source.quantised(stored.name)
    if on_grid is not None:
        return on_grid, _layer_report(name, on_grid, None)
    chunk_rows = max(1, CHUNK_ELEMENTS // shape[1])
    read_rows = _row_reader(source, stored)
    weight: FrozenWeight
    if grid == "nf4":
        weight, error = quantize_rows_nf4(read_rows, shape, chunk_rows)
    else:
        weight, error = quantize_rows(read_rows, shape, grid, chunk_rows)
    if not math.isfinite(error):
        raise QuantError(
            f"{source.path}: tensor {stored.name} holds values that are not finite or too large to "
            "quantise",
            "the file is damaged, or the model was saved after its training diverged",
        )
    return weight, _layer_report(name, weight, error)


def read_floats(
    source: WeightSource, name: str, stored: StoredAs, shape: tuple[int, ...]
) -> tuple[Tensor, LayerReport]:
    """Reads what stays float32: a bias, a norm, learned positions.

    Args:
        source: The checkpoint.
        name: The model's name, for the report.
        stored: The checkpoint's name.
        shape: Shape that the model expects.

    Raises:
        QuantError: If the tensor has another shape or type.
    """
    _check_shape(source, stored.name, shape)
    if source.quantised(stored.name) is not None:
        raise QuantError(
            f"{source.path}: tensor {stored.name} is quantised ({source.dtype(stored.name)}), "
            "which is not expected of a vector",
            "convert the model again with its norms and biases in F32",
        )
    floats = source.read(stored.name)
    num_bytes = floats.numel() * floats.element_size()
    return floats, LayerReport(name, shape, "float32", num_bytes, num_bytes, None)


def _row_reader(source: WeightSource, stored: StoredAs) -> RowReader:
    read = source.columns if stored.is_transposed else source.rows
    return lambda start, stop: read(stored.name, start, stop)


def _check_shape(source: WeightSource, name: str, shape: tuple[int, ...]) -> None:
    found = source.shape(name)
    if found != shape:
        raise QuantError(
            f"{source.path}: tensor {name} has the shape {found}, the configuration says {shape}",
            "config.json and the weights are of different models",
        )


def _layer_report(name: str, weight: FrozenWeight, error: float | None) -> LayerReport:
    scheme = "nf4"
    if isinstance(weight, QuantTensor):
        scheme = f"int{weight.spec.bits} {weight.spec.form}"
    float_bytes = math.prod(weight.shape) * torch.float32.itemsize
    return LayerReport(name, weight.shape, scheme, weight.num_bytes, float_bytes, error)
