from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.errors import QuantError
from quant.int4 import quantize, quantize_rows
from quant.packing import QuantSpec, QuantTensor

INTEGER_SPECS = [
    QuantSpec(bits, block, form)
    for bits in (4, 8)
    for block in (16, 32)
    for form in ("zero_point", "symmetric")
]


def read_in_float64(weight: QuantTensor) -> np.ndarray[Any, Any]:
    """The definition of the grid, read from the bytes without any of our code."""
    bits, num_codes = weight.spec.bits, 1 << weight.spec.bits
    num_rows, num_columns = weight.shape
    codes = weight.codes.numpy()
    scales = weight.scales.numpy().astype(np.float64)
    points = np.full(scales.shape, num_codes // 2)
    if weight.zero_points is not None:
        points = weight.zero_points.numpy()
        if bits == 4:
            points = np.stack([points & 15, points >> 4], -1).reshape(num_rows, -1)
        points = points[:, : scales.shape[1]]
    if bits == 4:
        codes = np.stack([codes & 15, codes >> 4], -1).reshape(num_rows, scales.shape[1], -1)
    values = (codes.astype(np.float64) - points[..., None]) * scales[..., None]
    return values.reshape(num_rows, -1)[:, :num_columns]


def error_of_plain_rounding(weight: Tensor, spec: QuantSpec) -> float:
    """Relative error of round-to-nearest over the full range, in float64."""
    blocks = weight.double().numpy().reshape(weight.shape[0], -1, spec.block_size)
    top = (1 << spec.bits) - 1
    if spec.form == "symmetric":
        scales = np.abs(blocks).max(-1, keepdims=True) / (1 << (spec.bits - 1))
        low, high = -(1 << (spec.bits - 1)), (1 << (spec.bits - 1)) - 1
        read = np.clip(np.round(blocks / scales), low, high) * scales
    else:
        smallest = np.minimum(blocks.min(-1, keepdims=True), 0)
        scales = (np.maximum(blocks.max(-1, keepdims=True), 0) - smallest) / top
        points = np.round(-smallest / scales)
        read = (np.clip(np.round(blocks / scales) + points, 0, top) - points) * scales
    return float(np.linalg.norm(read - blocks) / np.linalg.norm(blocks))


@pytest.mark.parametrize("spec", INTEGER_SPECS, ids=str)
@pytest.mark.parametrize("num_columns", [128, 100])
def test_dequantised_is_what_the_definition_says(spec: QuantSpec, num_columns: int) -> None:
    torch.manual_seed(0)
    quantised = quantize(torch.randn(17, num_columns), spec)
    reference = read_in_float64(quantised)
    assert quantised.dequantize().shape == (17, num_columns)
    np.testing.assert_allclose(quantised.dequantize().numpy(), reference, rtol=2e-7, atol=0)


@pytest.mark.parametrize("spec", INTEGER_SPECS, ids=str)
def test_the_error_is_no_larger_than_plain_rounding(spec: QuantSpec) -> None:
    torch.manual_seed(1)
    weight = torch.randn(64, 256)
    _, error = quantize_rows(lambda a, b: weight[a:b], (64, 256), spec, 64)
    assert error <= error_of_plain_rounding(weight, spec) * 1.02


@pytest.mark.parametrize(
    ("bits", "form", "bound"),
    [
        (4, "zero_point", 0.080),
        (4, "symmetric", 0.085),
        (8, "zero_point", 0.005),
        (8, "symmetric", 0.0055),
    ],
)
def test_gaussian_weights_stay_below_the_known_error(
    bits: Literal[4, 8], form: Literal["zero_point", "symmetric"], bound: float
) -> None:
    torch.manual_seed(2)
    weight = torch.randn(512, 512)
    _, error = quantize_rows(lambda a, b: weight[a:b], (512, 512), QuantSpec(bits, 32, form), 512)
    assert 0.5 * bound < error < bound


@pytest.mark.parametrize("spec", INTEGER_SPECS, ids=str)
def test_scales_are_exact_in_half_precision(spec: QuantSpec) -> None:
    torch.manual_seed(3)
    scales = quantize(torch.randn(32, 96) * 1e-3, spec).scales
    assert torch.equal(scales.half().float(), scales)


@pytest.mark.parametrize("spec", INTEGER_SPECS, ids=str)
def test_chunks_change_nothing(spec: QuantSpec) -> None:
    torch.manual_seed(4)
    weight = torch.randn(50, 96)
    seen = []

    def read_rows(start: int, stop: int) -> Tensor:
        seen.append(stop - start)
        return weight[start:stop]

    chunked, error = quantize_rows(read_rows, (50, 96), spec, 16)
    whole = quantize(weight, spec)
    assert seen == [16, 16, 16, 2]
    for name, tensor in whole.stored_tensors().items():
        assert torch.equal(chunked.stored_tensors()[name], tensor)
    expected = (whole.dequantize() - weight).norm() / weight.norm()
    assert error == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("spec", INTEGER_SPECS, ids=str)
def test_zero_and_constant_blocks(spec: QuantSpec) -> None:
    weight = torch.zeros(4, 64)
    weight[1], weight[2], weight[3, 5] = 0.37, -0.37, 1e-9
    read = quantize(weight, spec).dequantize()
    assert torch.equal(read[0], torch.zeros(64))
    torch.testing.assert_close(read[1:3], weight[1:3], rtol=1e-3, atol=0)
    torch.testing.assert_close(read[3], weight[3], rtol=0, atol=1e-8)


def test_a_zero_matrix_has_no_error() -> None:
    _, error = quantize_rows(lambda a, b: torch.zeros(b - a, 32), (4, 32), QuantSpec(), 2)
    assert error == 0.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_are_read_as_their_floats(dtype: torch.dtype) -> None:
    torch.manual_seed(5)
    weight = torch.randn(8, 64).to(dtype)
    assert torch.equal(
        quantize(weight, QuantSpec()).codes, quantize(weight.float(), QuantSpec()).codes
    )


def test_weights_that_are_not_finite_show_in_the_error() -> None:
    weight = torch.ones(2, 32)
    weight[1, 3] = torch.inf
    _, error = quantize_rows(lambda a, b: weight[a:b], (2, 32), QuantSpec(), 1)
    assert not np.isfinite(error)


def test_block_offsets_are_refused() -> None:
    with pytest.raises(QuantError, match="block_offset") as caught:
        quantize(torch.ones(2, 32), QuantSpec(form="block_offset"))
    assert "GGUF" in caught.value.hint
