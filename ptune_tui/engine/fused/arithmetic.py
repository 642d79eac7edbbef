"""The products of a layer with the element-wise passes around them, in floats or in integers.

Legend: M tokens, H hidden, N outputs, I width of the MLP.

Each function reads and writes tensors that the caller owns; gradients of the residual stream are
added to, because the residual passes them on unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ptune_tui.engine.fused.buffers import Buffers
from ptune_tui.engine.fused.weights import FloatWeight, IntegerWeight, LayerWeights, Weight
from quant.int8 import int8_matmul
from quant.native import passes
from quant.native.passes import Codes


class FloatArithmetic:
    """Products of floats: the weight says of which type; what goes in and comes out is float32.

    Args:
        buffers (Buffers): Work space.

    Attributes:
        kept_dtype: Of gate and up between forward and backward pass.
    """

    kept_dtype = torch.float32

    def __init__(self, buffers: Buffers) -> None:
        self.buffers = buffers

    def norm_project(
        self,
        input_MH: Tensor,
        norm_H: Tensor,
        epsilon: float,
        weight: Weight,
        inverses_M: Tensor,
        output_MN: Tensor,
    ) -> None:
        """`weight rmsnorm(input)` into `output_MN`."""
        normed_MH = self.buffers.get("normed", *input_MH.shape)
        passes.rms_rows(input_MH, norm_H, epsilon, inverses_M, normed_MH)
        output_MN.copy_(self._project(normed_MH, weight))

    def project_add(
        self, input_MN: Tensor, weight: Weight, residual_MH: Tensor, output_MH: Tensor
    ) -> None:
        """`residual + weight input` into `output_MH`."""
        torch.add(residual_MH, self._project(input_MN, weight), out=output_MH)

    def mlp_add(
        self,
        input_MH: Tensor,
        weights: LayerWeights,
        inverses_M: Tensor,
        kept_M2I: Tensor,
        output_MH: Tensor,
    ) -> None:
        """`input + mlp(rmsnorm(input))` into `output_MH`; gate and up are kept."""
        norm_H, epsilon = weights.middle_norm_H, weights.epsilon
        self.norm_project(input_MH, norm_H, epsilon, weights.gate_up, inverses_M, kept_M2I)
        activated_MI = self.buffers.get("activated", len(kept_M2I), kept_M2I.shape[1] // 2)
        passes.swiglu_rows(kept_M2I, activated_MI)
        self.project_add(activated_MI, weights.down, input_MH, output_MH)

    def mlp_backward(
        self,
        gradient_MH: Tensor,
        input_MH: Tensor,
        weights: LayerWeights,
        inverses_M: Tensor,
        kept_M2I: Tensor,
    ) -> None:
        """Add what the MLP passes back to the gradient of the stream; `kept_M2I` is spent."""
        passes.swiglu_backward_rows(kept_M2I, self._back(gradient_MH, weights.down))
        self.norm_project_backward(
            kept_M2I, weights.gate_up, input_MH, weights.middle_norm_H, inverses_M, gradient_MH
        )

    def project_backward(self, gradient_MH: Tensor, weight: Weight, output_MN: Tensor) -> None:
        """`gradient weight` into `output_MN`."""
        output_MN.copy_(self._back(gradient_MH, weight))

    def norm_project_backward(
        self,
        output_gradient_MN: Tensor,
        weight: Weight,
        input_MH: Tensor,
        norm_H: Tensor,
        inverses_M: Tensor,
        gradient_MH: Tensor,
    ) -> None:
        """Add what the projection behind the norm passes back to the gradient of the stream."""
        back_MH = self._back(output_gradient_MN, weight)
        passes.rms_backward_rows(back_MH, input_MH, norm_H, inverses_M, gradient_MH)

    def _project(self, input_MK: Tensor, weight: Weight) -> Tensor:
        assert isinstance(weight, FloatWeight)
        output_MN = weight.project(input_MK, self.buffers)
        return output_MN if weight.bias_N is None else output_MN.add_(weight.bias_N)

    def _back(self, gradient_MN: Tensor, weight: Weight) -> Tensor:
        assert isinstance(weight, FloatWeight)
        return weight.back(gradient_MN, self.buffers)


class IntegerArithmetic:
    """int8 products of rows that are quantised as they come; the methods are `FloatArithmetic`'s.

    Args:
        buffers (Buffers): Work space.

    Attributes:
        kept_dtype: Of gate and up between forward and backward pass.
    """

    kept_dtype = torch.bfloat16

    def __init__(self, buffers: Buffers) -> None:
        self.buffers = buffers
        self._no_channels = torch.empty(0, dtype=torch.int32)

    def norm_project(
        self,
        input_MH: Tensor,
        norm_H: Tensor,
        epsilon: float,
        weight: Weight,
        inverses_M: Tensor,
        output_MN: Tensor,
    ) -> None:
        """`weight rmsnorm(input)` into `output_MN`."""
        source, sums_MN = self._norm_product(input_MH, norm_H, epsilon, weight, inverses_M)
        self._dequantize(sums_MN, source, weight, None, output_MN)

    def project_add(
        self, input_MN: Tensor, weight: Weight, residual_MH: Tensor, output_MH: Tensor
    ) -> None:
        """`residual + weight input` into `output_MH`."""
        weight = _integer(weight)
        channels = weight.int8.channels_n
        source = self.buffers.codes(input_MN, channels.numel())
        passes.quantize_rows(input_MN, None, channels, source)
        self._dequantize(self._forward(source, weight), source, weight, residual_MH, output_MH)

    def mlp_add(
        self,
        input_MH: Tensor,
        weights: LayerWeights,
        inverses_M: Tensor,
        kept_M2I: Tensor,
        output_MH: Tensor,
    ) -> None:
        """`input + mlp(rmsnorm(input))` into `output_MH`; gate and up are kept."""
        gate_up, down = _integer(weights.gate_up), _integer(weights.down)
        norm_H, epsilon = weights.middle_norm_H, weights.epsilon
        source, sums_M2I = self._norm_product(input_MH, norm_H, epsilon, gate_up, inverses_M)
        num_rows, width = kept_M2I.shape
        channels = down.int8.channels_n
        activated = Codes(
            self.buffers.get("activated", num_rows, width // 2, dtype=torch.int8),
            self.buffers.get("activated scales", num_rows),
            self.buffers.get("activated outliers", num_rows, channels.numel()),
        )
        passes.swiglu_quantize_rows(
            *(sums_M2I, source, gate_up.int8.scales_N, gate_up.int8.outlier_weights_nN),
            *(gate_up.bias_N, channels, kept_M2I, activated),
        )
        sums_MH = self._forward(activated, down)
        self._dequantize(sums_MH, activated, down, input_MH, output_MH)

    def mlp_backward(
        self,
        gradient_MH: Tensor,
        input_MH: Tensor,
        weights: LayerWeights,
        inverses_M: Tensor,
        kept_M2I: Tensor,
    ) -> None:
        """Add what the MLP passes back to the gradient of the stream."""
        gate_up = _integer(weights.gate_up)
        source, sums_MI = self._back(gradient_MH, weights.down)
        both = Codes(
            self.buffers.get("gate up codes", *kept_M2I.shape, dtype=torch.int8),
            self.buffers.get("gate up scales", len(kept_M2I)),
            source.outliers,
        )
        passes.swiglu_backward_quantize_rows(
            sums_MI, source.scales, kept_M2I, gate_up.int8.scales_N, both
        )
        sums_MH = self._sums(*input_MH.shape)
        int8_matmul(both.codes, gate_up.int8.codes_NK, out=sums_MH)
        passes.rms_backward_quantized_rows(
            *(sums_MH, both.scales, input_MH, weights.middle_norm_H, inverses_M, gradient_MH)
        )

    def project_backward(self, gradient_MH: Tensor, weight: Weight, output_MN: Tensor) -> None:
        """`gradient weight` into `output_MN`."""
        source, sums_MN = self._back(gradient_MH, weight)
        passes.dequantize_gradient(sums_MN, source.scales, output_MN)

    def norm_project_backward(
        self,
        output_gradient_MN: Tensor,
        weight: Weight,
        input_MH: Tensor,
        norm_H: Tensor,
        inverses_M: Tensor,
        gradient_MH: Tensor,
    ) -> None:
        """Add what the projection behind the norm passes back to the gradient of the stream."""
        source, sums_MH = self._back(output_gradient_MN, weight)
        passes.rms_backward_quantized_rows(
            sums_MH, source.scales, input_MH, norm_H, inverses_M, gradient_MH
        )

    def _norm_product(
        self, input_MH: Tensor, norm_H: Tensor, epsilon: float, weight: Weight, inverses_M: Tensor
    ) -> tuple[Codes, Tensor]:
        weight = _integer(weight)
        channels = weight.int8.channels_n
        source = self.buffers.codes(input_MH, channels.numel())
        passes.rms_quantize_rows(input_MH, norm_H, epsilon, channels, inverses_M, source)
        return source, self._forward(source, weight)

    def _forward(self, source: Codes, weight: IntegerWeight) -> Tensor:
        codes_NK = weight.int8.codes_NK
        sums_MN = self._sums(len(source.codes), codes_NK.shape[0])
        return int8_matmul(source.codes, codes_NK.t(), out=sums_MN)

    def _back(self, gradient_MN: Tensor, weight: Weight) -> tuple[Codes, Tensor]:
        weight = _integer(weight)
        source = self.buffers.codes(gradient_MN, 0)
        passes.quantize_rows(gradient_MN, weight.int8.scales_N, self._no_channels, source)
        sums_MK = self._sums(len(gradient_MN), weight.int8.codes_NK.shape[1])
        return source, int8_matmul(source.codes, weight.int8.codes_NK, out=sums_MK)

    def _dequantize(
        self,
        sums_MN: Tensor,
        source: Codes,
        weight: Weight,
        residual_MN: Tensor | None,
        output_MN: Tensor,
    ) -> None:
        weight = _integer(weight)
        passes.dequantize_rows(
            *(sums_MN, source, weight.int8.scales_N, weight.int8.outlier_weights_nN),
            *(weight.bias_N, residual_MN, output_MN),
        )

    def _sums(self, num_rows: int, width: int) -> Tensor:
        return self.buffers.get("sums", num_rows, width, dtype=torch.int32)


Arithmetic = FloatArithmetic | IntegerArithmetic


def _integer(weight: Weight) -> IntegerWeight:
    assert isinstance(weight, IntegerWeight)
    return weight
