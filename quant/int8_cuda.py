"""Integer products on a CUDA card: torch's operator takes some shapes only, the rest is filled up.

Legend: M rows, K inputs, N outputs.

`torch._int_mm` (cuBLASLt) wants more than 16 rows, and inputs and outputs in multiples of 8. Zeros
add nothing to an integer sum, so filling up is exact.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_MIN_ROWS = 32
_MULTIPLE = 8


def padded_int8_matmul(left_MK: Tensor, right_KN: Tensor) -> Tensor:
    """int32 [M, N] of int8 matrices of any shape.

    Args:
        left_MK: int8 [M, K], contiguous.
        right_KN: int8 [K, N], contiguous or a transposed view.
    """
    (num_rows, num_inputs), num_outputs = left_MK.shape, right_KN.shape[1]
    more_rows = max(0, _MIN_ROWS - num_rows)
    more_inputs, more_outputs = -num_inputs % _MULTIPLE, -num_outputs % _MULTIPLE
    if more_rows or more_inputs:
        left_MK = functional.pad(left_MK, (0, more_inputs, 0, more_rows))
    if more_inputs or more_outputs:
        right_KN = functional.pad(right_KN, (0, more_outputs, 0, more_inputs))
    return torch._int_mm(left_MK, right_KN)[:num_rows, :num_outputs]


def failure_on(device: torch.device) -> str | None:
    """Tries a small product in both layouts; what went wrong, or None.

    Args:
        device: A CUDA card.
    """
    ones = torch.ones((64, 64), dtype=torch.int8, device=device)
    try:
        is_right = all(
            bool((padded_int8_matmul(ones, right) == 64).all()) for right in (ones, ones.t())
        )
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        return str(error).strip().partition("\n")[0]
    return None if is_right else "the products are wrong"
