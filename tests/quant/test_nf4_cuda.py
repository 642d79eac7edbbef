from __future__ import annotations

import pytest
import torch

from quant.linear import QuantLinear
from quant.nf4 import quantize_rows_nf4
from quant.nf4_cuda import NF4Product, has_kernels

pytest.importorskip("bitsandbytes")
SHAPE = (48, 128)


def product_and_gradient(device: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    floats = torch.randn(SHAPE)
    weight = quantize_rows_nf4(lambda a, b: floats[a:b], SHAPE, 16)[0].to(torch.device(device))
    inputs = torch.randn(5, SHAPE[1]).to(device, dtype).requires_grad_()
    expected = inputs.detach().clone().requires_grad_()
    output = NF4Product.apply(inputs, weight)
    reference = expected @ weight.dequantize().to(dtype).t()
    assert output.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(output, reference, rtol=tolerance, atol=tolerance * 10)
    gradient = torch.randn(5, SHAPE[0]).to(device, dtype)
    output.backward(gradient)
    reference.backward(gradient)
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad, expected.grad, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_operators_compute_the_product_on_a_processor(dtype: torch.dtype) -> None:
    product_and_gradient("cpu", dtype)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_operators_compute_the_product_on_a_card(dtype: torch.dtype) -> None:
    product_and_gradient("cuda", dtype)


@pytest.mark.gpu
def test_a_layer_on_a_card_takes_the_kernels_and_keeps_gradients_after_an_evaluation() -> None:
    floats = torch.randn(SHAPE)
    weight = quantize_rows_nf4(lambda a, b: floats[a:b], SHAPE, 16)[0]
    layer = QuantLinear(weight, compute_dtype=torch.bfloat16).eval().to("cuda")
    assert has_kernels(layer.weight)
    inputs = torch.randn(3, SHAPE[1], device="cuda", dtype=torch.bfloat16)
    with torch.no_grad():
        layer(inputs)
    inputs.requires_grad_()
    layer(inputs).sum().backward()
    assert inputs.grad is not None
    assert float(inputs.grad.abs().max()) > 0


def test_a_processor_keeps_to_the_path_that_needs_no_kernels() -> None:
    floats = torch.randn(SHAPE)
    assert not has_kernels(quantize_rows_nf4(lambda a, b: floats[a:b], SHAPE, 16)[0])
