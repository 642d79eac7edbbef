"""The block types of GGUF files in our layout, exactly.

Legend: n rows, K input columns, S stored blocks a row, D stored bytes of one, G blocks a row of
ours, E elements of one.

A stored block becomes one or more of ours: Q4_K is eight blocks of 32 whose 6-bit scales and minima
share two floats, Q6_K sixteen blocks of 16. `scale * code` and `offset` are rounded in the same
places as in `gguf.dequantize`, so `dequantize()` gives the same bits. Codes of 5 and 6 bits are
held in 8; with an offset (Q5_1, Q5_K) they would lie so far from the 128 of a symmetric product
that 8-bit activations cost 3 to 7 % of the result, so these types are not taken. Formats: ggml's
`ggml-common.h`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quant.packing import QuantSpec, QuantTensor, pack_codes

_SUPER_BLOCK = 256


@dataclass(frozen=True)
class Unpacked:
    """Stored blocks taken apart.

    Attributes:
        codes: uint8 [n, S, E of the stored block], one a byte, in the order of the columns.
        scales: float32 [n, S, blocks of ours in one].
        offsets: The same shape, or None.
    """

    codes: Tensor
    scales: Tensor
    offsets: Tensor | None = None


@dataclass(frozen=True)
class BlockType:
    """One of GGUF's types.

    Attributes:
        spec: The grid of ours that holds it.
        num_elements: Of a stored block.
        unpack: Takes stored blocks, uint8 [n, S, D], apart.
        scales_are_half: Whether scales and offsets are float16 in the file.
    """

    spec: QuantSpec
    num_elements: int
    unpack: Callable[[Tensor], Unpacked]
    scales_are_half: bool = True


def import_blocks(data_ND: np.ndarray[Any, Any], type_name: str, num_columns: int) -> QuantTensor:
    """Repacks rows of GGUF blocks.

    Args:
        data_ND: uint8 [n, S * D], as the file has them.
        type_name: A key of `BLOCK_TYPES`.
        num_columns: K, a multiple of the type's block.

    Returns:
        The same weights, bit for bit.
    """
    kind = BLOCK_TYPES[type_name]
    num_rows, size = data_ND.shape[0], kind.spec.block_size
    blocks_nSD = torch.from_numpy(np.array(data_ND)).view(
        num_rows, num_columns // kind.num_elements, -1
    )
    unpacked = kind.unpack(blocks_nSD)
    codes_nGE = unpacked.codes.reshape(num_rows, -1, size)
    return QuantTensor(
        kind.spec,
        (num_rows, num_columns),
        pack_codes(codes_nGE, kind.spec.bits),
        unpacked.scales.reshape(num_rows, -1).contiguous(),
        offsets=(
            None
            if unpacked.offsets is None
            else unpacked.offsets.reshape(num_rows, -1).contiguous()
        ),
        scales_are_half=kind.scales_are_half,
    )


def _q4_0(blocks_nSD: Tensor) -> Unpacked:
    scales, codes = _split(blocks_nSD, 2, 16)
    return Unpacked(_nibbles(codes), _halves(scales))


def _q4_1(blocks_nSD: Tensor) -> Unpacked:
    scales, offsets, codes = _split(blocks_nSD, 2, 2, 16)
    return Unpacked(_nibbles(codes), _halves(scales), _halves(offsets))


def _q5_0(blocks_nSD: Tensor) -> Unpacked:
    """`(code - 16) * scale`; ours is `(code - 128) * scale`."""
    scales, high, low = _split(blocks_nSD, 2, 4, 16)
    return Unpacked(_five_bits(low, high) + (128 - 16), _halves(scales))


def _q8_0(blocks_nSD: Tensor) -> Unpacked:
    """Signed codes; ours are 128 higher."""
    scales, codes = _split(blocks_nSD, 2, 32)
    return Unpacked(codes ^ 0x80, _halves(scales))


def _q4_k(blocks_nSD: Tensor) -> Unpacked:
    scale, minimum, packed, codes = _split(blocks_nSD, 2, 2, 12, 128)
    scales, offsets = _scales_and_offsets(scale, minimum, packed)
    return Unpacked(_pairs_of_blocks(codes), scales, offsets)


def _q6_k(blocks_nSD: Tensor) -> Unpacked:
    """`(code - 32) * scale` in blocks of 16; two bits of every code lie apart."""
    low, high, factors, scale = _split(blocks_nSD, 128, 64, 16, 2)
    scales = _halves(scale) * factors.view(torch.int8).float()
    low_halves = low.reshape(*low.shape[:2], 2, 64)
    low_codes = torch.cat((low_halves & 0x0F, low_halves >> 4), dim=-1)
    high_halves = high.reshape(*high.shape[:2], 2, 32)
    high_codes = torch.cat([(high_halves >> shift) & 3 for shift in (0, 2, 4, 6)], dim=-1)
    codes = (low_codes | (high_codes << 4)).flatten(-2)
    return Unpacked(codes + (128 - 32), scales)


BLOCK_TYPES = {
    "Q4_0": BlockType(QuantSpec(4, 32, "symmetric"), 32, _q4_0),
    "Q4_1": BlockType(QuantSpec(4, 32, "block_offset"), 32, _q4_1),
    "Q5_0": BlockType(QuantSpec(8, 32, "symmetric"), 32, _q5_0),
    "Q8_0": BlockType(QuantSpec(8, 32, "symmetric"), 32, _q8_0),
    "Q4_K": BlockType(QuantSpec(4, 32, "block_offset"), _SUPER_BLOCK, _q4_k, False),
    "Q6_K": BlockType(QuantSpec(8, 16, "symmetric"), _SUPER_BLOCK, _q6_k, False),
}


def _split(blocks_nSD: Tensor, *sizes: int) -> tuple[Tensor, ...]:
    return torch.split(blocks_nSD, list(sizes), dim=-1)


def _halves(stored: Tensor) -> Tensor:
    """float16 bytes [n, S, 2] as float32 [n, S, 1]."""
    return stored.contiguous().view(torch.float16).float()


def _nibbles(codes: Tensor) -> Tensor:
    """Byte j of a block of 32 holds elements j and j + 16."""
    return torch.cat((codes & 0x0F, codes >> 4), dim=-1)


def _five_bits(low: Tensor, high: Tensor) -> Tensor:
    """Nibbles [n, S, 16] and their fifth bits, uint8 [n, S, 4], bit j % 8 of byte j / 8."""
    bits = torch.stack([(high >> bit) & 1 for bit in range(8)], dim=-1).flatten(-2)
    return _nibbles(low) | (bits << 4)


def _pairs_of_blocks(codes: Tensor) -> Tensor:
    """32 bytes hold two blocks of 32: the first in the low nibbles, the second in the high."""
    pairs = codes.reshape(*codes.shape[:2], -1, 32)
    return torch.stack((pairs & 0x0F, pairs >> 4), dim=-2).flatten(-3)


def _scales_and_offsets(scale: Tensor, minimum: Tensor, packed: Tensor) -> tuple[Tensor, Tensor]:
    """Eight 6-bit factors each, in 12 bytes: float32 [n, S, 8] of scales and of offsets."""
    first, second, third = torch.split(packed, 4, dim=-1)
    factors = torch.cat((first & 0x3F, (third & 0x0F) | ((first >> 2) & 0x30)), dim=-1)
    minima = torch.cat((second & 0x3F, (third >> 4) | ((second >> 2) & 0x30)), dim=-1)
    return _halves(scale) * factors.float(), -(_halves(minimum) * minima.float())
