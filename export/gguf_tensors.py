"""Frozen weights as tensors of a GGUF file, in the type that holds them exactly where there is one.

    int4 with zero points, blocks of 32   Q5_0: `code - zero point` lies in -15..15, Q5_0 in -16..15
    tensors of a GGUF file                the file's own bytes
    norms                                 F32
    int8 with zero points, NF4            F16, rounded: no type has their grid

Q4_1 would have to round `-scale * zero point` to float16. The embedding is F16 whatever it was: it
must hold the virtual tokens, which lie on no grid, and a type is a whole tensor's. llama.cpp rounds
activations to 8 bits in front of every product; float16 is finer by far.

Legend: V rows of the embedding, P virtual tokens, N output rows, K input columns, D stored bytes of
a row, n rows of a chunk, G blocks of a row, E elements of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGMLQuantizationType
from torch import Tensor

from export.plain_model import floats, rounding_error
from quant.packing import FrozenWeight, QuantSpec, QuantTensor, unpack_codes

_ZERO_POINT_INT4 = QuantSpec(4, 32, "zero_point")
_Q5_0_BYTES = 22
_ROWS_AT_ONCE = 4096
_LARGEST_HALF = 65504.0

Bytes = npt.NDArray[Any]


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of the file; its data is made when it is written.

    Attributes:
        name: Its name in the file.
        type: ggml's type.
        shape: Of the data as numpy holds it; rows of bytes where the type is one of blocks.
        dtype: Of the data.
        data: Makes it.
    """

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    data: Callable[[], Bytes]

    @property
    def num_bytes(self) -> int:
        """Of the data."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass
class Rounding:
    """What was rounded: the error of each tensor, over its norm."""

    errors: dict[str, float]

    def note(self, name: str, weight: FrozenWeight | Tensor, rounded: Tensor) -> None:
        """Note a tensor whose values changed."""
        error = rounding_error(weight, rounded)
        if error:
            self.errors[name] = error


def stored_weight(
    name: str, weight: FrozenWeight | Tensor, rounding: Rounding, order: Tensor | None = None
) -> StoredTensor:
    """A frozen weight as a tensor.

    Args:
        name (str): Its name in the file.
        weight (FrozenWeight | Tensor): Codes [N, K], or a float vector.
        rounding (Rounding): Where it is noted what was rounded.
        order (Tensor | None): Index of our row for each row of the file, int64 [N].
    """
    if isinstance(weight, Tensor):
        vector = np.ascontiguousarray(weight.float().numpy())
        return StoredTensor(
            name, GGMLQuantizationType.F32, vector.shape, np.float32, lambda: vector
        )
    is_exact = (
        isinstance(weight, QuantTensor)
        and weight.spec == _ZERO_POINT_INT4
        and weight.scales_are_half
        and weight.shape[1] % 32 == 0
    )
    if not is_exact:
        return stored_halves(name, weight, rounding, order=order)
    assert isinstance(weight, QuantTensor)
    codes = weight if order is None else weight.rows(order)
    shape = (weight.shape[0], weight.shape[1] // 32 * _Q5_0_BYTES)
    kind = GGMLQuantizationType.Q5_0
    return StoredTensor(name, kind, shape, np.uint8, lambda: five_bit_blocks(codes))


def stored_halves(
    name: str,
    weight: FrozenWeight | Tensor,
    rounding: Rounding,
    *,
    more_rows: Tensor | None = None,
    order: Tensor | None = None,
) -> StoredTensor:
    """A weight in float16, with rows appended where asked."""
    num_more = 0 if more_rows is None else len(more_rows)

    def data() -> Bytes:
        rounded = floats(weight, torch.float16, more_rows)
        rounding.note(name, weight, rounded)
        if more_rows is not None:
            rounding.note(f"{name} (virtual tokens)", more_rows, rounded[weight.shape[0] :])
        return np.asarray((rounded if order is None else rounded[order]).numpy())

    shape = (weight.shape[0] + num_more, weight.shape[1])
    return StoredTensor(name, GGMLQuantizationType.F16, shape, np.float16, data)


def fits_half(values: Tensor) -> bool:
    """Whether float16 holds values without overflowing."""
    return bool(values.abs().max() <= _LARGEST_HALF)


def five_bit_blocks(weight: QuantTensor) -> Bytes:
    """A weight of 4-bit codes with zero points as Q5_0: uint8 [N, G * 22], bit for bit its values.

    A block is its scale in float16, the 32 high bits, and the nibbles: byte j holds elements j and
    j + 16. Its values are `scale * (code - 16)`.
    """
    num_rows, num_columns = weight.shape
    num_blocks = num_columns // 32
    result = np.empty((num_rows, num_blocks * _Q5_0_BYTES), np.uint8)
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, num_rows)
        assert weight.zero_points is not None
        codes_nGE = unpack_codes(weight.codes[start:stop], 4).to(torch.int16)
        points_nG = unpack_codes(weight.zero_points[start:stop], 4)[:, :num_blocks]
        fives_nGE = (codes_nGE - points_nG.to(torch.int16).unsqueeze(-1) + 16).to(torch.uint8)
        blocks = (
            weight.scales[start:stop].to(torch.float16).unsqueeze(-1).view(torch.uint8),
            _high_bits(fives_nGE),
            (fives_nGE[..., :16] & 0x0F) | ((fives_nGE[..., 16:] & 0x0F) << 4),
        )
        result[start:stop] = torch.cat(blocks, dim=-1).reshape(stop - start, -1).numpy()
    return result


def _high_bits(fives_nGE: Tensor) -> Tensor:
    """The fifth bits of 32 codes in four bytes: code j's is bit j % 8 of byte j / 8."""
    bits = (fives_nGE >> 4).reshape(*fives_nGE.shape[:-1], 4, 8)
    places = torch.arange(8, dtype=torch.uint8)
    return torch.sum(bits << places, dim=-1, dtype=torch.uint8)
