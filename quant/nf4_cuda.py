"""Products with NF4 weights through bitsandbytes' kernels, for CUDA.

Legend: M rows, N output rows, K input columns.

bitsandbytes' own `Linear4bit` is left aside: its compute dtype is float32 unless told otherwise,
and on some CPUs it repacks its weight in an evaluation and loses input gradients from then on. The
operators below it are called instead, in the dtype of the input; they never repack anything.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from quant.nf4 import BLOCK_SIZE, NF4Tensor, bitsandbytes_functional
from quant.packing import FrozenWeight

_OPERATORS = torch.ops.bitsandbytes


def has_kernels(weight: FrozenWeight) -> bool:
    """Whether bitsandbytes' CUDA kernels take a weight: NF4, and no block that crosses rows.

    Args:
        weight: A frozen weight [N, K].
    """
    return (
        isinstance(weight, NF4Tensor)
        and weight.device.type == "cuda"
        and weight.shape[1] % BLOCK_SIZE == 0
    )


class NF4Product(torch.autograd.Function):
    """`input weight^T` with a gradient for the input only; nothing is saved but the codes."""

    @staticmethod
    def forward(ctx: Any, input_MK: Tensor, weight: NF4Tensor) -> Tensor:
        """Float [M, N] of inputs [M, K]: bitsandbytes' fused product, in the input's dtype."""
        bitsandbytes_functional()  # registers the operators
        ctx.weight = weight
        output_MN: Tensor = _OPERATORS.gemm_4bit(
            input_MK, weight.codes.view(-1, 1), weight.shape, weight.absmax, BLOCK_SIZE, "nf4"
        )
        return output_MN

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MN: Tensor) -> tuple[Tensor, None]:
        """The input's gradient [M, K]: the weight is dequantised and multiplied."""
        weight: NF4Tensor = ctx.weight
        weight_NK = _OPERATORS.dequantize_4bit(
            weight.codes.view(-1, 1), weight.absmax, BLOCK_SIZE, "nf4", weight.shape, grad_MN.dtype
        )
        return grad_MN @ weight_NK, None
