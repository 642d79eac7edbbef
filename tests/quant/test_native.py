"""The compiled passes beside the same formulas in float64."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ptune_tui.hardware import machine
from quant.native import passes
from quant.native.build import Build, build, build_for
from quant.native.passes import Codes, Heads, Rows
from quant.packing import Form, QuantSpec, QuantTensor

pytestmark = pytest.mark.skipif(not passes.is_available(), reason=build().reason)

EPSILON = 1e-5
NO_CHANNELS = torch.empty(0, dtype=torch.int32)
# Rows, and widths around the vector's 4, 8 or 16 and the part's 64.
SHAPES = [(1, 1), (3, 15), (2, 16), (5, 67), (7, 200)]


# This processor, one with registers of 8 floats, and one with registers of 4.
@pytest.fixture(params=["native", "haswell", "x86-64"], scope="module")
def built(request: pytest.FixtureRequest) -> Build:
    processor: str = request.param
    if processor != "native":
        if platform.machine() != "x86_64":
            pytest.skip("for x86-64 only")
        if processor == "haswell" and "avx2" not in (machine().processor_flags or ()):
            pytest.skip("this processor has no AVX2")
    found = build_for(processor)
    assert found.library is not None, found.reason
    return found


@pytest.fixture(autouse=True)
def _kernels(built: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "build", lambda: built)
    torch.manual_seed(0)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def room(num_rows: int, width: int, num_outliers: int = 0) -> Codes:
    codes = torch.empty((num_rows, width), dtype=torch.int8)
    return Codes(codes, torch.empty(num_rows), torch.empty((num_rows, num_outliers)))


def some_channels(width: int) -> Tensor:
    return torch.tensor(sorted({0, width // 2, width - 1}), dtype=torch.int32)


def assert_codes_are(found: Codes, floats_MK: Tensor, channels_n: Tensor) -> None:
    """Outliers are the floats; each other value is within half a step of its code."""
    channels = channels_n.long()
    close(found.outliers, floats_MK[:, channels])
    rest = floats_MK.clone()
    rest[:, channels] = 0.0
    scales = rest.abs().amax(1) / 127
    close(found.scales, scales)
    error = (found.codes * scales[:, None] - rest).abs()
    assert bool((error <= 0.5001 * scales[:, None] + 1e-6).all())
    assert bool((found.codes[:, channels] == 0).all())


def close(found: Tensor, expected: Tensor, tolerance: float = 2e-6) -> None:
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=tolerance * largest)


def rms(input_MK: Tensor, weight_K: Tensor) -> Tensor:
    return input_MK * (input_MK.square().mean(-1, keepdim=True) + EPSILON).rsqrt() * weight_K


def swiglu(both_M2I: Tensor) -> Tensor:
    gate_MI, up_MI = both_M2I.chunk(2, -1)
    return functional.silu(gate_MI) * up_MI


def gradient_of(compute: Callable[[Tensor], Tensor], at: Tensor, output_gradient: Tensor) -> Tensor:
    """In float64."""
    leaf = at.double().requires_grad_()
    (gradient,) = torch.autograd.grad(compute(leaf), leaf, output_gradient.double())
    return gradient


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("has_factors", [False, True])
def test_rows_are_quantised(shape: tuple[int, int], has_factors: bool) -> None:
    input_MK = 3 * torch.randn(shape)
    input_MK[0] = 0.0
    factors_K = torch.rand(shape[1]) if has_factors else None
    channels = some_channels(shape[1])
    found = room(*shape, len(channels))
    passes.quantize_rows(input_MK, factors_K, channels, found)
    expected = input_MK.double() if factors_K is None else input_MK.double() * factors_K
    assert_codes_are(found, expected, channels)


@pytest.mark.parametrize("shape", SHAPES)
def test_rms_norm_in_floats_and_in_codes(shape: tuple[int, int]) -> None:
    input_MK, weight_K = torch.randn(shape), torch.rand(shape[1]) + 0.5
    expected = rms(input_MK.double(), weight_K.double())
    inverses, output = torch.empty(shape[0]), torch.empty(shape)
    passes.rms_rows(input_MK, weight_K, EPSILON, inverses, output)
    close(output, expected)
    close(inverses, (input_MK.double().square().mean(-1) + EPSILON).rsqrt())
    channels, again = some_channels(shape[1]), torch.empty(shape[0])
    found = room(*shape, len(channels))
    passes.rms_quantize_rows(input_MK, weight_K, EPSILON, channels, again, found)
    assert again.equal(inverses)
    assert_codes_are(found, expected, channels)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_norm_s_gradient_is_added_to_that_of_the_stream(shape: tuple[int, int]) -> None:
    input_MK, weight_K = torch.randn(shape), torch.rand(shape[1]) + 0.5
    sums_MK = torch.randint(-999, 999, shape, dtype=torch.int32)
    scales_M, around = torch.rand(shape[0]), torch.randn(shape)
    back_MK = sums_MK * scales_M[:, None]
    expected = around + gradient_of(lambda x: rms(x, weight_K.double()), input_MK, back_MK)
    inverses = (input_MK.square().mean(-1) + EPSILON).rsqrt()
    found, from_sums = around.clone(), around.clone()
    passes.rms_backward_rows(back_MK, input_MK, weight_K, inverses, found)
    passes.rms_backward_quantized_rows(sums_MK, scales_M, input_MK, weight_K, inverses, from_sums)
    close(found, expected, 5e-6)
    close(from_sums, expected, 5e-6)


def product_parts(
    num_rows: int, width: int, num_outliers: int
) -> tuple[Tensor, Codes, Tensor, Tensor]:
    """int32 sums, what they were made of, the channels' scales and the outliers' weights."""
    source = room(num_rows, 1, num_outliers)
    source.scales.uniform_()
    source.outliers.normal_()
    sums_MN = torch.randint(-5000, 5000, (num_rows, width), dtype=torch.int32)
    return sums_MN, source, torch.rand(width) / 100, torch.randn(num_outliers, width)


def as_floats(
    sums_MN: Tensor, source: Codes, scales_N: Tensor, outlier_weights_nN: Tensor
) -> Tensor:
    whole = sums_MN.double() * source.scales.double()[:, None] * scales_N.double()
    return whole + source.outliers.double() @ outlier_weights_nN.double()


@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (2, 64), (5, 130)])
@pytest.mark.parametrize("num_outliers", [0, 3])
def test_sums_become_floats_with_outliers_bias_and_residual(
    shape: tuple[int, int], num_outliers: int
) -> None:
    parts = product_parts(*shape, num_outliers)
    bias, residual, output = torch.randn(shape[1]), torch.randn(shape), torch.empty(shape)
    expected = as_floats(*parts)
    passes.dequantize_rows(*parts, None, None, output)
    close(output, expected)
    passes.dequantize_rows(*parts, bias, None, output)
    close(output, expected + bias)
    passes.dequantize_rows(*parts, bias, residual, output)
    close(output, expected + bias + residual)
    passes.dequantize_gradient(parts[0], parts[1].scales, output)
    close(output, parts[0].double() * parts[1].scales.double()[:, None])


@pytest.mark.parametrize("width", [1, 16, 37])
def test_the_gated_unit_and_its_gradient_in_floats(width: int) -> None:
    both, gradient = 6 * torch.randn(4, 2 * width), torch.randn(4, width)
    output = torch.empty(4, width)
    passes.swiglu_rows(both, output)
    close(output, swiglu(both.double()))
    expected = gradient_of(swiglu, both, gradient)
    passes.swiglu_backward_rows(both, gradient)
    close(both, expected)


def test_the_gated_unit_is_right_far_out() -> None:
    both = torch.tensor([[-1e4, -95.0, -20.0, 20.0, 95.0, 1e4, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    output = torch.empty(1, 6)
    passes.swiglu_rows(both, output)
    torch.testing.assert_close(output.double(), swiglu(both.double()), rtol=1e-5, atol=1e-33)


@pytest.mark.parametrize("width", [1, 16, 37])
def test_the_gated_unit_and_its_gradient_in_codes(width: int) -> None:
    parts = product_parts(4, 2 * width, 2)
    bias, channels = torch.randn(2 * width), some_channels(width)
    kept, found = torch.empty(4, 2 * width, dtype=torch.bfloat16), room(4, width, len(channels))
    passes.swiglu_quantize_rows(*parts, bias, channels, kept, found)
    both = as_floats(*parts) + bias
    assert_codes_are(found, swiglu(both), channels)
    torch.testing.assert_close(kept.double(), both, rtol=2**-8, atol=1e-4)

    sums_MI = torch.randint(-999, 999, (4, width), dtype=torch.int32)
    scales_M, factors = torch.rand(4), torch.rand(2 * width)
    back = room(4, 2 * width)
    passes.swiglu_backward_quantize_rows(sums_MI, scales_M, kept, factors, back)
    expected = gradient_of(swiglu, kept, sums_MI * scales_M[:, None]) * factors
    assert_codes_are(back, expected, NO_CHANNELS)


def test_rotating_back_undoes_rotating_and_values_stay() -> None:
    heads = Heads(1, 2, 16, 1.0, 0)
    qkv = torch.randn(5, heads.width)
    rows = Rows(torch.tensor([0, 5]).int(), torch.tensor([3, 0, 9, 1, 4]).int())
    angles = torch.outer(torch.arange(10.0), torch.rand(8)).repeat(1, 2)
    found = qkv.clone()
    passes.rotate_rows(found, heads, rows, angles.cos(), angles.sin())
    pairs = qkv.double().view(5, 4, 2, 8)
    turned = torch.complex(pairs[:, :, 0], pairs[:, :, 1]) * torch.polar(
        torch.ones(5, 1, 8).double(), angles[rows.positions.long(), None, :8].double()
    )
    expected = torch.stack([turned.real, turned.imag], 2)
    expected[:, 3] = pairs[:, 3]
    close(found, expected.reshape(found.shape))
    passes.rotate_rows(found, heads, rows, angles.cos(), angles.sin(), backward=True)
    close(found, qkv)


FORMS: list[Form] = ["zero_point", "symmetric", "block_offset"]


def random_weight(spec: QuantSpec, num_rows: int, width: int) -> QuantTensor:
    num_blocks = -(-width // spec.block_size)
    size = (num_rows, num_blocks)

    def random_bytes(*shape: int) -> Tensor:
        return torch.randint(0, 256, shape, dtype=torch.uint8)

    return QuantTensor(
        spec,
        (num_rows, width),
        random_bytes(*size, spec.block_size * spec.bits // 8),
        torch.rand(size).half().float(),
        random_bytes(num_rows, -(-num_blocks * spec.bits // 8))
        if spec.form == "zero_point"
        else None,
        torch.randn(size) if spec.form == "block_offset" else None,
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("bits", "block_size"), [(4, 32), (8, 32), (8, 20), (4, 64)])
@pytest.mark.parametrize("width", [1, 33, 64, 150])
def test_codes_become_floats_bit_for_bit_as_in_torch(
    form: Form, bits: int, block_size: int, width: int
) -> None:
    weight = random_weight(QuantSpec(bits, block_size, form), 5, width)  # type: ignore[arg-type]
    expected = weight._dequantize_plain(slice(None))
    assert weight.dequantize().equal(expected)
    assert weight.dequantize(1, 4).equal(expected[1:4])
    out = torch.full((7, width), -1.0)
    weight.dequantize(2, out=out[1:4])
    assert out[1:4].equal(expected[2:])
    assert bool((out[[0, 4, 5, 6]] == -1.0).all())
    half = torch.full((7, width), -1.0, dtype=torch.bfloat16)
    weight.dequantize(2, out=half[1:4])
    assert half[1:4].equal(expected[2:].bfloat16())
    assert bool((half[[0, 4, 5, 6]] == -1.0).all())


# Head size, key/value heads, query heads each, keys before the rows, row lengths, window.
ATTENTIONS = [
    (16, 2, 2, 0, [1], 0),
    (16, 1, 3, 5, [7, 3, 1], 0),
    (16, 2, 1, 40, [2, 5], 8),
    (64, 3, 3, 20, [13, 48, 5, 2], 0),
    (64, 2, 1, 0, [33, 1], 0),
    (64, 1, 2, 6, [11, 4], 3),
    (80, 2, 2, 3, [6, 9], 4),
    (128, 1, 4, 17, [5, 1], 0),
    (128, 1, 1, 0, [19], 1),
    # Several tiles of queries, and more keys than a block.
    (64, 1, 3, 100, [90, 33], 0),
    (16, 1, 1, 3, [200], 0),
    (32, 1, 2, 150, [130], 90),
    (16, 1, 97, 2, [3], 0),
]


def attention_of(
    case: tuple[int, int, int, int, list[int], int],
) -> tuple[Tensor, Tensor, Rows, Heads]:
    size, num_groups, num_shared, num_past, lengths, window = case
    heads = Heads(num_groups, num_groups * num_shared, size, size**-0.5, window)
    starts = torch.tensor([0, *lengths]).cumsum(0).int()
    qkv = torch.randn(sum(lengths), heads.width)
    past = torch.randn(2, num_groups, num_past, size)
    return qkv, past, Rows(starts, torch.empty(0, dtype=torch.int32)), heads


def reference(qkv_MN: Tensor, past_2hPD: Tensor, rows: Rows, heads: Heads) -> Tensor:
    """One row after the other, all keys at once, then hidden by a mask."""
    num_groups, size, num_past = heads.num_key_value_heads, heads.head_size, past_2hPD.shape[2]
    outputs = []
    for start, stop in pairwise(rows.starts.tolist()):
        widths = [heads.num_query_heads * size, num_groups * size, num_groups * size]
        query, key, value = qkv_MN[start:stop].split(widths, 1)
        length = stop - start
        query_Thrd = query.view(length, num_groups, -1, size)
        keys, values = (
            torch.cat([past, own.view(length, num_groups, size).transpose(0, 1)], 1)
            for past, own in zip(past_2hPD, (key, value), strict=True)
        )
        scores = torch.einsum("thrd,hsd->hrts", query_Thrd, keys) * heads.scale
        distance = num_past + torch.arange(length)[:, None] - torch.arange(num_past + length)
        is_hidden = distance < 0
        if heads.window:
            is_hidden |= distance >= heads.window
        shares = scores.masked_fill(is_hidden, -torch.inf).softmax(-1)
        outputs.append(torch.einsum("hrts,hsd->thrd", shares, values).reshape(length, -1))
    return torch.cat(outputs)


def forward_and_backward(
    qkv: Tensor, past: Tensor, rows: Rows, heads: Heads, output_gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and the gradients of queries, keys and values and of the shared ones."""
    output, log_sums = (
        torch.empty_like(output_gradient),
        torch.empty(len(qkv), heads.num_query_heads),
    )
    passes.attention(qkv, past, rows, heads, output, log_sums)
    gradient, past_gradient = torch.empty_like(qkv), torch.ones_like(past)
    passes.attention_backward(
        qkv, past, rows, heads, log_sums, output_gradient, gradient, past_gradient
    )
    return output, gradient, past_gradient


@pytest.mark.parametrize("case", ATTENTIONS)
def test_attention_and_its_gradient(
    case: tuple[int, int, int, int, list[int], int],
) -> None:
    qkv, past, rows, heads = attention_of(case)
    output_gradient = torch.randn(len(qkv), heads.num_query_heads * heads.head_size)
    leaves = qkv.double().requires_grad_(), past.double().requires_grad_()
    expected = reference(*leaves, rows, heads)
    expected.backward(output_gradient.double())
    output, gradient, past_gradient = forward_and_backward(qkv, past, rows, heads, output_gradient)
    assert leaves[0].grad is not None
    assert leaves[1].grad is not None
    close(output, expected.detach(), 5e-6)
    close(gradient, leaves[0].grad, 5e-6)
    close(past_gradient, leaves[1].grad + 1, 5e-6)


@pytest.mark.usefixtures("two_threads")
def test_a_second_call_gives_the_same_bits() -> None:
    qkv, past, rows, heads = attention_of(ATTENTIONS[3])
    output_gradient = torch.randn(len(qkv), heads.num_query_heads * heads.head_size)
    calls = [forward_and_backward(qkv, past, rows, heads, output_gradient) for _ in range(3)]
    for again in calls[1:]:
        assert all(one.equal(other) for one, other in zip(calls[0], again, strict=True))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_value_that_is_not_finite_spoils_its_row_and_no_other(bad: float) -> None:
    input_MK, weight_K = torch.randn(3, 40), torch.ones(40)
    input_MK[1, 17] = bad
    inverses, floats = torch.empty(3), torch.empty(3, 40)
    found = room(3, 40)
    passes.quantize_rows(input_MK, None, NO_CHANNELS, found)
    assert_only_the_second_is_bad(product_of(found))
    passes.rms_quantize_rows(input_MK, weight_K, EPSILON, NO_CHANNELS, inverses, found)
    assert_only_the_second_is_bad(product_of(found))
    passes.rms_rows(input_MK, weight_K, EPSILON, inverses, floats)
    assert_only_the_second_is_bad(floats)
    gated = torch.empty(3, 20)
    passes.swiglu_rows(input_MK, gated)
    assert_only_the_second_is_bad(gated)
    back = torch.zeros(3, 40)
    passes.rms_backward_rows(input_MK, torch.randn(3, 40), weight_K, torch.ones(3), back)
    assert_only_the_second_is_bad(back)


def product_of(source: Codes) -> Tensor:
    """The product of some codes with ones."""
    ones, output = torch.ones((2, source.codes.shape[1]), dtype=torch.int8), torch.empty(3, 2)
    sums = torch._int_mm(source.codes, ones.t())
    passes.dequantize_rows(sums, source, torch.ones(2), torch.empty(0, 2), None, None, output)
    return output


def assert_only_the_second_is_bad(rows: Tensor) -> None:
    assert rows.isfinite().all(1).tolist() == [True, False, True]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_attention_keeps_what_is_not_finite_in_its_row(bad: float) -> None:
    qkv, past, rows, heads = attention_of((16, 1, 2, 3, [4, 6, 5], 0))
    qkv[6, 5] = bad
    output_gradient = torch.randn(15, 32)
    output, gradient, past_gradient = forward_and_backward(qkv, past, rows, heads, output_gradient)
    for found in (output, gradient):
        is_finite = [bool(part.isfinite().all()) for part in found.split([4, 6, 5])]
        assert is_finite == [True, False, True]
    assert not past_gradient.isfinite().all()
