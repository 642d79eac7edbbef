"""Memory that is mapped once and used in every step, so that a run's peak stays flat.

Legend: M tokens, H hidden, N columns of queries, keys and values, q query heads,
I width of the MLP.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from quant.native.passes import Codes

# A buffer that has to grow grows to a multiple of so many elements, so that it seldom does.
_GRAIN = 1 << 16


@dataclass
class Buffers:
    """Tensors by name and dtype; their memory grows to the largest shape asked for and is kept."""

    _flat: dict[tuple[str, torch.dtype], Tensor] = field(default_factory=dict)

    def get(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """A tensor of a shape, its values left over from the last use of the name."""
        size, key = math.prod(shape), (name, dtype)
        flat = self._flat.get(key)
        if flat is None or flat.numel() < size:
            # The old memory goes first: the peak is the larger of the two, not their sum.
            self._flat.pop(key, None)
            del flat
            flat = torch.empty(-(-size // _GRAIN) * _GRAIN, dtype=dtype)
            self._flat[key] = flat
        return flat[:size].view(shape)

    def codes(self, floats_MK: Tensor, num_outliers: int) -> Codes:
        """Room for a matrix in int8."""
        num_rows, width = floats_MK.shape
        return Codes(
            self.get("codes", num_rows, width, dtype=torch.int8),
            self.get("scales", num_rows),
            self.get("outliers", num_rows, num_outliers),
        )

    @property
    def num_bytes(self) -> int:
        """Bytes of all buffers."""
        return sum(flat.numel() * flat.element_size() for flat in self._flat.values())


@dataclass(frozen=True)
class Kept:
    """What the backward pass of one layer needs.

    Attributes:
        input_MH: The layer's input.
        input_inverses_M: Of its RMSNorm.
        qkv_MN: Queries, keys and values, rotated.
        log_sums_Mq: Of the attention's softmax.
        middle_MH: The residual stream between attention and MLP.
        middle_inverses_M: Of its RMSNorm.
        gate_up_M2I: Gate and up; bfloat16 in integer arithmetic, else float32.
    """

    input_MH: Tensor
    input_inverses_M: Tensor
    qkv_MN: Tensor
    log_sums_Mq: Tensor
    middle_MH: Tensor
    middle_inverses_M: Tensor
    gate_up_M2I: Tensor
