"""The compiled passes over torch tensors, one function each; the C++ says what they compute.

Legend: M tokens, K inputs, N outputs, I width of the MLP, n outlier channels, h key/value heads,
r query heads a key/value head, D head size, P keys before the rows' own, R rows.

Every tensor is contiguous and on the CPU; floats are float32 where a name
does not say otherwise, positions and channels int32.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor

from quant.native.build import build


class Codes(NamedTuple):
    """A matrix in int8 by rows.

    Attributes:
        codes: int8 [M, K].
        scales: float32 [M].
        outliers: float32 [M, n], the channels that stay in floats; zeros stand in `codes`.
    """

    codes: Tensor
    scales: Tensor
    outliers: Tensor


class Rows(NamedTuple):
    """Rows of tokens that lie end to end.

    Attributes:
        starts: int32 [R + 1]: row i is tokens `starts[i]:starts[i + 1]`.
        positions: int32 [M], of each token.
    """

    starts: Tensor
    positions: Tensor


class Heads(NamedTuple):
    """The shape of an attention.

    Attributes:
        num_key_value_heads: h.
        num_query_heads: h * r.
        head_size: D, a multiple of 16.
        scale: What scores are multiplied by.
        window: Keys nearer than it are seen; 0 for all.
    """

    num_key_value_heads: int
    num_query_heads: int
    head_size: int
    scale: float
    window: int

    @property
    def width(self) -> int:
        """Columns of queries, keys and values side by side."""
        return (self.num_query_heads + 2 * self.num_key_value_heads) * self.head_size


def is_available() -> bool:
    """Whether the compiled passes can be used in this process."""
    return build().library is not None


def dequantize_blocks(
    codes: Tensor,
    bits: int,
    block_size: int,
    scales: Tensor,
    zero_points: Tensor | None,
    offsets: Tensor | None,
    output_NK: Tensor,
) -> None:
    """Codes in blocks, as `quant.packing` lays them out, into float32 or bfloat16."""
    is_bfloat16 = int(output_NK.dtype == torch.bfloat16)
    _call(
        "dequantize_blocks",
        *(codes, bits, block_size, scales, zero_points, offsets),
        *(*output_NK.shape, output_NK, is_bfloat16),
    )


def quantize_rows(
    input_MK: Tensor, factors_K: Tensor | None, channels_n: Tensor, to: Codes
) -> None:
    """Rows of floats, times `factors_K` where given, into `to`."""
    num_rows, width = input_MK.shape
    _call(
        "quantize_rows", input_MK, factors_K, num_rows, width, channels_n, channels_n.numel(), *to
    )


def rms_quantize_rows(
    input_MK: Tensor,
    weight_K: Tensor,
    epsilon: float,
    channels_n: Tensor,
    inverses_M: Tensor,
    to: Codes,
) -> None:
    """RMSNorm into `to`; `inverses_M` takes what the backward pass needs."""
    num_rows, width = input_MK.shape
    _call(
        "rms_quantize_rows",
        *(input_MK, weight_K, epsilon, num_rows, width, channels_n, channels_n.numel()),
        *(inverses_M, *to),
    )


def rms_rows(
    input_MK: Tensor, weight_K: Tensor, epsilon: float, inverses_M: Tensor, output_MK: Tensor
) -> None:
    """RMSNorm in floats."""
    _call("rms_rows", input_MK, weight_K, epsilon, *input_MK.shape, inverses_M, output_MK)


def dequantize_rows(
    accumulators_MN: Tensor,
    source: Codes,
    scales_N: Tensor,
    outlier_weights_nN: Tensor,
    bias_N: Tensor | None,
    residual_MN: Tensor | None,
    output_MN: Tensor,
) -> None:
    """int32 products [M, N] into floats, outliers and bias included, added to a residual."""
    num_rows, num_outputs = output_MN.shape
    _call(
        "dequantize_rows",
        *(accumulators_MN, source.scales, scales_N, source.outliers, outlier_weights_nN),
        *(outlier_weights_nN.shape[0], bias_N, residual_MN, num_rows, num_outputs, output_MN),
    )


def dequantize_gradient(accumulators_MN: Tensor, scales_M: Tensor, output_MN: Tensor) -> None:
    """int32 products of a gradient [M, N] into floats."""
    _call("dequantize_gradient", accumulators_MN, scales_M, *output_MN.shape, output_MN)


def swiglu_quantize_rows(
    accumulators_M2I: Tensor,
    source: Codes,
    scales_2I: Tensor,
    outlier_weights_n2I: Tensor,
    bias_2I: Tensor | None,
    channels_n: Tensor,
    kept_M2I: Tensor,
    to: Codes,
) -> None:
    """Gate and up (kept as bfloat16) into the codes of silu(gate) * up."""
    num_rows, width = to.codes.shape
    _call(
        "swiglu_quantize_rows",
        *(accumulators_M2I, source.scales, scales_2I, source.outliers, outlier_weights_n2I),
        *(outlier_weights_n2I.shape[0], bias_2I, num_rows, width),
        *(channels_n, channels_n.numel(), kept_M2I, *to),
    )


def swiglu_backward_quantize_rows(
    accumulators_MI: Tensor, scales_M: Tensor, kept_M2I: Tensor, factors_2I: Tensor, to: Codes
) -> None:
    """The gradient of silu(gate) * up into the codes of gate's and up's, times `factors_2I`."""
    num_rows, width = accumulators_MI.shape
    _call(
        "swiglu_backward_quantize_rows",
        *(accumulators_MI, scales_M, kept_M2I, factors_2I, num_rows, width, to.codes, to.scales),
    )


def swiglu_rows(both_M2I: Tensor, output_MI: Tensor) -> None:
    """silu(gate) * up in floats."""
    _call("swiglu_rows", both_M2I, *output_MI.shape, output_MI)


def swiglu_backward_rows(both_M2I: Tensor, gradient_MI: Tensor) -> None:
    """Gate and up become their gradients."""
    _call("swiglu_backward_rows", both_M2I, gradient_MI, *gradient_MI.shape)


def rms_backward_quantized_rows(
    accumulators_MK: Tensor,
    scales_M: Tensor,
    input_MK: Tensor,
    weight_K: Tensor,
    inverses_M: Tensor,
    gradient_MK: Tensor,
) -> None:
    """Add an RMSNorm's backward pass, from int32 products, to the gradient of its input."""
    _call(
        "rms_backward_quantized_rows",
        *(accumulators_MK, scales_M, input_MK, weight_K, inverses_M, *input_MK.shape, gradient_MK),
    )


def rms_backward_rows(
    output_gradient_MK: Tensor,
    input_MK: Tensor,
    weight_K: Tensor,
    inverses_M: Tensor,
    gradient_MK: Tensor,
) -> None:
    """Add an RMSNorm's backward pass to the gradient of its input."""
    _call(
        "rms_backward_rows",
        *(output_gradient_MK, input_MK, weight_K, inverses_M, *input_MK.shape, gradient_MK),
    )


def rotate_rows(
    qkv_MN: Tensor,
    heads: Heads,
    rows: Rows,
    cosines: Tensor,
    sines: Tensor,
    *,
    backward: bool = False,
) -> None:
    """Rotary embedding of queries and keys in place; tables float32 [positions, D]."""
    num_rotated = heads.num_query_heads + heads.num_key_value_heads
    _call(
        "rotate_rows",
        *(qkv_MN, *qkv_MN.shape, num_rotated, heads.head_size, rows.positions, cosines, sines),
        -1.0 if backward else 1.0,
    )


def attention(
    qkv_MN: Tensor, past_2hPD: Tensor, rows: Rows, heads: Heads, output_MN: Tensor, log_sums: Tensor
) -> None:
    """Causal attention of every row over the shared keys and values and its own."""
    _call(
        "attention",
        *(qkv_MN, past_2hPD[0], past_2hPD[1], past_2hPD.shape[2], rows.starts),
        *(rows.starts.numel() - 1, *_shape(heads), output_MN, log_sums),
    )


def attention_backward(
    qkv_MN: Tensor,
    past_2hPD: Tensor,
    rows: Rows,
    heads: Heads,
    log_sums: Tensor,
    output_gradient_MN: Tensor,
    qkv_gradient_MN: Tensor,
    past_gradient_2hPD: Tensor,
) -> None:
    """Its backward pass; the gradient of the shared keys and values is added to."""
    _call(
        "attention_backward",
        *(qkv_MN, past_2hPD[0], past_2hPD[1], past_2hPD.shape[2], rows.starts),
        *(rows.starts.numel() - 1, *_shape(heads), log_sums, output_gradient_MN, qkv_gradient_MN),
        *(past_gradient_2hPD[0], past_gradient_2hPD[1]),
    )


def _shape(heads: Heads) -> tuple[int, int, int, float, int]:
    shared = heads.num_query_heads // heads.num_key_value_heads
    return heads.num_key_value_heads, shared, heads.head_size, heads.scale, heads.window


def _call(name: str, *arguments: Tensor | float | int | None) -> None:
    library = build().library
    assert library is not None
    getattr(library, name)(*map(_native, arguments))


def _native(argument: Tensor | float | int | None) -> object:
    if isinstance(argument, Tensor):
        assert argument.is_contiguous()
        assert argument.device.type == "cpu"
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    return ctypes.c_void_p(None) if argument is None else ctypes.c_int64(argument)
