"""Frozen weights in the data file: which tensors stand for one, and under which names.

Legend: N outputs, K inputs, G blocks of a row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from export.blobs import BlobFile
from export.nodes import NodeWriter
from export.offset_columns import can_extend, extend
from quant.int4 import quantize
from quant.packing import FrozenWeight, QuantSpec, QuantTensor


def deployable(weight: FrozenWeight) -> QuantTensor:
    """The weight as `MatMulNBits` can read it.

    Integer grids are taken as they are. NF4 has no fast CPU kernel and does not survive int4, so
    its values go to 8 bits in blocks of 32.
    """
    if isinstance(weight, QuantTensor):
        return weight
    return quantize(weight.dequantize(), QuantSpec(bits=8, block_size=32, form="zero_point"))


def stack_rows(weights: list[QuantTensor]) -> QuantTensor:
    """Weights of one form and one K, as one weight with all their rows."""
    first = weights[0]
    return replace(
        first,
        shape=(sum(w.shape[0] for w in weights), first.shape[1]),
        codes=torch.cat([w.codes for w in weights]),
        scales=torch.cat([w.scales for w in weights]),
        zero_points=(
            None
            if first.zero_points is None
            else torch.cat([w.zero_points for w in weights if w.zero_points is not None])
        ),
        offsets=(
            None
            if first.offsets is None
            else torch.cat([w.offsets for w in weights if w.offsets is not None])
        ),
        scales_are_half=all(w.scales_are_half for w in weights),
    )


def can_stack(weights: list[QuantTensor]) -> bool:
    """Whether the weights share one grid and one K."""
    return len({(w.spec, w.shape[1], w.scales_are_half) for w in weights}) == 1


def store_matrix(blobs: BlobFile, name: str, weight: QuantTensor) -> None:
    """Write a weight that is only multiplied by, with columns for its offsets."""
    if not can_extend(weight):
        store(blobs, name, weight)
        return
    assert weight.offsets is not None
    float_type = _float_type(weight)
    extended = extend(weight)
    blobs.add(f"{name}.extended.codes", extended.codes.numpy())
    blobs.add(f"{name}.extended.scales", extended.scales.numpy().astype(float_type))
    blobs.add(f"{name}.extended.zero_points", extended.zero_points.numpy())
    blobs.add(f"{name}.offsets", weight.offsets.numpy().astype(float_type))


def store(blobs: BlobFile, name: str, weight: QuantTensor) -> None:
    """Write a weight's tensors into the data file under `name`."""
    float_type = _float_type(weight)
    blobs.add(f"{name}.codes", weight.codes.numpy())
    blobs.add(f"{name}.scales", weight.scales.numpy().astype(float_type))
    if weight.zero_points is not None:
        blobs.add(f"{name}.zero_points", weight.zero_points.numpy())
    if weight.offsets is not None:
        blobs.add(f"{name}.offsets", weight.offsets.numpy().astype(float_type))


def _float_type(weight: QuantTensor) -> type[np.float16 | np.float32]:
    return np.float16 if weight.scales_are_half else np.float32


def float_values(nodes: NodeWriter, name: str, weight: QuantTensor) -> str:
    """A stored float tensor as float32; the cast is folded when the graph is loaded."""
    nodes.external(name)
    if not weight.scales_are_half:
        return name
    return nodes.once(f"{name}.float", "Cast", [name], to=1)
