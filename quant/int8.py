"""A frozen weight in int8 by output channels, and products in integer arithmetic.

Legend: M rows, K inputs, N outputs, n outlier channels.

After LLM.int8() (Dettmers 2022, https://arxiv.org/abs/2208.07339): rows of the input are quantised
as they come, a few input channels that are much louder than the others stay in floats. The
backward pass quantises the rows of the gradient and needs no such channels.

The compiled passes serve where there are any; the plain ones compute the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from quant.int8_cuda import padded_int8_matmul
from quant.native import passes
from quant.native.passes import Codes
from quant.packing import FrozenWeight

LEVELS = 127.0
_CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Int8Weight:
    """A weight [N, K], or several with the same inputs, one below the other.

    Attributes:
        codes_NK: int8 [N, K].
        scales_N: float32 [N].
        channels_n: Outlier channels, int32 [n], ascending.
        outlier_weights_nN: The columns of the outlier channels, float32 [n, N].
    """

    codes_NK: Tensor
    scales_N: Tensor
    channels_n: Tensor
    outlier_weights_nN: Tensor

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors."""
        parts = (self.codes_NK, self.scales_N, self.channels_n, self.outlier_weights_nN)
        return sum(part.numel() * part.element_size() for part in parts)


def int8_weight(weights: Sequence[FrozenWeight], channels: Sequence[int]) -> Int8Weight:
    """Put frozen weights that share their inputs on int8, one chunk of rows at a time.

    Args:
        weights: Frozen weights [N_i, K].
        channels: Input channels to keep in floats.
    """
    device = weights[0].device
    num_outputs = sum(weight.shape[0] for weight in weights)
    codes_NK = torch.empty((num_outputs, weights[0].shape[1]), dtype=torch.int8, device=device)
    scales_N = torch.empty(num_outputs, device=device)
    channels_n = torch.tensor(sorted(channels), dtype=torch.int32, device=device)
    outlier_weights_nN = torch.empty((len(channels), num_outputs), device=device)
    first = 0
    for weight in weights:
        for start in range(0, weight.shape[0], _CHUNK_ROWS):
            part = weight.dequantize(start, min(start + _CHUNK_ROWS, weight.shape[0]))
            rows = slice(first + start, first + start + part.shape[0])
            outlier_weights_nN[:, rows] = part[:, channels_n.long()].t()
            codes_NK[rows], scales_N[rows] = _quantized(part)
        first += weight.shape[0]
    return Int8Weight(codes_NK, scales_N, channels_n, outlier_weights_nN)


def quantize_rows(input_MK: Tensor, factors_K: Tensor | None, channels_n: Tensor) -> Codes:
    """Rows of floats in int8, the given channels taken out.

    Args:
        input_MK: float32 [M, K].
        factors_K: What the columns are multiplied by first, float32 [K].
        channels_n: int32 [n].
    """
    if input_MK.device.type == "cpu" and passes.is_available():
        num_rows = input_MK.shape[0]
        to = Codes(
            torch.empty(input_MK.shape, dtype=torch.int8),
            torch.empty(num_rows),
            torch.empty((num_rows, channels_n.numel())),
        )
        passes.quantize_rows(input_MK.contiguous(), factors_K, channels_n, to)
        return to
    rows_MK = input_MK.clone() if factors_K is None else input_MK * factors_K
    outliers_Mn = rows_MK[:, channels_n.long()]
    rows_MK[:, channels_n.long()] = 0.0
    return Codes(*_quantized(rows_MK), outliers_Mn)


class Int8Product(torch.autograd.Function):
    """`input weight^T` in integer arithmetic, with a gradient for the input only."""

    @staticmethod
    def forward(ctx: Any, input_MK: Tensor, weight: Int8Weight, source: Codes) -> Tensor:
        """Float [M, N] of inputs [M, K] and their codes."""
        ctx.weight, ctx.dtype = weight, input_MK.dtype
        accumulators_MN = int8_matmul(source.codes, weight.codes_NK.t())
        return _floats(accumulators_MN, source, weight).to(input_MK.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MN: Tensor) -> tuple[Tensor, None, None]:
        """The input's gradient [M, K]."""
        weight: Int8Weight = ctx.weight
        source = quantize_rows(grad_MN.float(), weight.scales_N, weight.channels_n[:0])
        accumulators_MK = int8_matmul(source.codes, weight.codes_NK)
        return (accumulators_MK * source.scales.unsqueeze(1)).to(ctx.dtype), None, None


def int8_matmul(left_MK: Tensor, right_KN: Tensor, out: Tensor | None = None) -> Tensor:
    """int32 [M, N] of int8 matrices.

    Args:
        left_MK: int8 [M, K], contiguous.
        right_KN: int8 [K, N], contiguous or a transposed view.
        out: int32 [M, N] to write into.
    """
    if left_MK.device.type == "cuda":
        product_MN = padded_int8_matmul(left_MK, right_KN)
        return product_MN if out is None else out.copy_(product_MN)
    if out is None:
        return torch._int_mm(left_MK, right_KN)
    return torch._int_mm(left_MK, right_KN, out=out)


def _floats(accumulators_MN: Tensor, source: Codes, weight: Int8Weight) -> Tensor:
    if accumulators_MN.device.type == "cpu" and passes.is_available():
        output_MN = torch.empty(accumulators_MN.shape)
        passes.dequantize_rows(
            *(accumulators_MN, source, weight.scales_N, weight.outlier_weights_nN),
            *(None, None, output_MN),
        )
        return output_MN
    output_MN = accumulators_MN * (source.scales.unsqueeze(1) * weight.scales_N)
    return output_MN.addmm_(source.outliers, weight.outlier_weights_nN)


def _quantized(rows_MK: Tensor) -> tuple[Tensor, Tensor]:
    """int8 [M, K] and scales [M]; a row that is not finite gets a scale that is not."""
    amax_M1 = rows_MK.abs().amax(1, keepdim=True)
    codes = (rows_MK * (LEVELS / amax_M1)).nan_to_num_(0.0, 0.0, 0.0).round_().to(torch.int8)
    return codes, (amax_M1 / LEVELS).squeeze(1)
