"""Products in integer arithmetic: how far off, what is shared, and how to do without."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from quant import int8, linear
from quant.int4 import quantize
from quant.int8 import Int8Product, int8_matmul, int8_weight, quantize_rows
from quant.linear import QuantizedInputs, QuantLinear, exact_products
from quant.native import passes
from quant.packing import QuantSpec, QuantTensor

SHAPE = (48, 70)
CHANNELS = [2, 33, 69]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=["compiled", "plain"])
def _passes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "plain":
        monkeypatch.setattr(passes, "is_available", lambda: False)


def frozen(shape: tuple[int, int] = SHAPE) -> QuantTensor:
    return quantize(torch.randn(shape), QuantSpec())


def layer_of(
    weight: QuantTensor, channels: list[int], inputs: QuantizedInputs | None = None
) -> QuantLinear:
    layer = QuantLinear(weight, torch.randn(weight.shape[0]))
    layer.set_int8(channels, inputs or QuantizedInputs())
    return layer


def value_and_gradient(layer: QuantLinear, inputs: Tensor) -> tuple[Tensor, Tensor]:
    leaf = inputs.clone().requires_grad_()
    output = layer(leaf)
    output.backward(torch.ones_like(output) + inputs[..., :1].to(output.dtype))
    assert leaf.grad is not None
    return output.detach(), leaf.grad


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.usefixtures("_passes")
@pytest.mark.parametrize("channels", [[], CHANNELS])
@pytest.mark.parametrize("num_rows", [1, 13])
def test_the_product_is_as_near_as_half_a_step_of_every_code(
    channels: list[int], num_rows: int
) -> None:
    weight, input_MK = frozen(), torch.randn(num_rows, SHAPE[1])
    integers = int8_weight([weight], channels)
    source = quantize_rows(input_MK, None, integers.channels_n)
    found = Int8Product.apply(input_MK, integers, source)  # type: ignore[no-untyped-call]
    weight_NK, rest_MK = weight.dequantize().double(), input_MK.double()
    rest_MK[:, channels] = 0.0
    input_steps, weight_steps = source.scales.double()[:, None], integers.scales_N.double()
    bound = 0.5 * input_steps * weight_NK.abs().sum(1) + 0.5 * weight_steps * rest_MK.abs().sum(
        1, keepdim=True
    )
    bound += 0.25 * SHAPE[1] * input_steps * weight_steps
    error = (found.double() - input_MK.double() @ weight_NK.t()).abs()
    assert bool((error <= bound + 1e-4).all())
    assert float(error.max()) > 1e-4


@pytest.mark.usefixtures("_passes")
def test_value_and_gradient_are_near_those_of_floats() -> None:
    weight, inputs = frozen(), torch.randn(2, 5, SHAPE[1])
    layer = layer_of(weight, CHANNELS)
    value, gradient = value_and_gradient(layer, inputs)
    assert layer.bias is not None
    exact = torch.nn.functional.linear(inputs, weight.dequantize(), layer.bias)
    assert relative(value, exact) < 0.02
    exact_gradient = (torch.ones_like(exact) + inputs[..., :1]) @ weight.dequantize()
    assert relative(gradient, exact_gradient) < 0.02


def test_compiled_and_plain_passes_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, inputs = layer_of(frozen(), CHANNELS), torch.randn(9, SHAPE[1])
    compiled = value_and_gradient(layer, inputs)
    monkeypatch.setattr(passes, "is_available", lambda: False)
    monkeypatch.setattr(layer, "inputs", QuantizedInputs())
    plain = value_and_gradient(layer, inputs)
    assert relative(plain[0], compiled[0]) < 1e-3
    assert relative(plain[1], compiled[1]) < 1e-3


@pytest.mark.usefixtures("_passes")
def test_loud_channels_kept_in_floats_reduce_the_error() -> None:
    weight, inputs = frozen(), torch.randn(20, SHAPE[1])
    inputs[:, CHANNELS] *= 50
    exact = inputs @ weight.dequantize().t()
    errors = []
    for channels in ([], CHANNELS):
        layer = layer_of(weight, channels)
        assert layer.bias is not None
        errors.append(relative(layer(inputs) - layer.bias, exact))
    assert errors[1] < errors[0] / 10


@pytest.mark.usefixtures("_passes")
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("channel", [CHANNELS[0], 5], ids=["outlier", "code"])
def test_a_value_that_is_not_finite_spoils_its_row_and_no_other(bad: float, channel: int) -> None:
    layer, inputs = layer_of(frozen(), CHANNELS), torch.randn(3, SHAPE[1])
    inputs[1, channel] = bad
    assert layer(inputs).isfinite().all(1).tolist() == [True, False, True]
    leaf = torch.randn(3, SHAPE[1], requires_grad=True)
    gradient = torch.ones(3, SHAPE[0])
    gradient[1, 7] = bad
    layer(leaf).backward(gradient)
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all(1).tolist() == [True, False, True]


@pytest.mark.usefixtures("_passes")
def test_rows_of_zeros_stay_zeros_and_no_rows_are_no_rows() -> None:
    layer = layer_of(frozen(), CHANNELS)
    assert layer.bias is not None
    assert layer(torch.zeros(2, SHAPE[1])).equal(layer.bias.expand(2, -1))
    assert layer(torch.zeros(2, 0, SHAPE[1])).shape == (2, 0, SHAPE[0])


def test_half_precision_inputs_give_half_precision_outputs_and_gradients() -> None:
    value, gradient = value_and_gradient(
        layer_of(frozen(), CHANNELS), torch.randn(3, SHAPE[1]).bfloat16()
    )
    assert gradient.dtype == torch.bfloat16
    assert value.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (17, 33, 2), (2, 64, 31)])
def test_integer_products_are_exact_in_odd_shapes(shape: tuple[int, int, int]) -> None:
    num_rows, width, num_outputs = shape
    left, right = (
        torch.randint(-127, 128, (size, width), dtype=torch.int8)
        for size in (num_rows, num_outputs)
    )
    expected = left.long() @ right.t().long()
    assert int8_matmul(left, right.t()).equal(expected.int())
    out = torch.empty(num_rows, num_outputs, dtype=torch.int32)
    int8_matmul(left, right.t().contiguous(), out=out)
    assert out.equal(expected.int())


def test_weights_with_the_same_inputs_lie_one_below_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = [frozen((12, 40)), frozen((5, 40))]
    parts = [int8_weight([weight], [3, 9]) for weight in weights]
    monkeypatch.setattr(int8, "_CHUNK_ROWS", 4)
    joined = int8_weight(weights, [9, 3])
    assert joined.channels_n.tolist() == [3, 9]
    assert joined.codes_NK.equal(torch.cat([part.codes_NK for part in parts]))
    assert joined.scales_N.equal(torch.cat([part.scales_N for part in parts]))
    outlier_weights = torch.cat([part.outlier_weights_nN for part in parts], 1)
    assert joined.outlier_weights_nN.equal(outlier_weights)
    assert joined.num_bytes == 17 * 40 + 4 * 17 + 4 * 2 + 4 * 2 * 17


@pytest.fixture
def num_quantised(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    calls: list[int] = []

    def counted(input_MK: Tensor, *others: object) -> object:
        calls.append(len(input_MK))
        return quantize_rows(input_MK, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(linear, "quantize_rows", counted)
    return lambda: len(calls)


def test_layers_with_one_input_share_its_codes(num_quantised: Callable[[], int]) -> None:
    inputs = QuantizedInputs()
    query, key = (layer_of(frozen(), CHANNELS, inputs) for _ in range(2))
    other = layer_of(frozen(), [1], inputs)
    hidden = torch.randn(4, SHAPE[1])
    query(hidden), key(hidden)
    assert num_quantised() == 1
    other(hidden)
    assert num_quantised() == 2


def test_a_changed_or_another_input_is_quantised_anew(num_quantised: Callable[[], int]) -> None:
    layer, hidden = layer_of(frozen(), CHANNELS), torch.randn(4, SHAPE[1])
    first = layer(hidden)
    hidden += 1.0
    changed = layer(hidden)
    assert num_quantised() == 2
    assert not changed.equal(first)
    layer(hidden.clone())
    assert num_quantised() == 3


def test_what_is_remembered_goes_when_told() -> None:
    inputs = QuantizedInputs()
    layer_of(frozen(), CHANNELS, inputs)(torch.randn(4, SHAPE[1]))
    assert inputs._last is not None
    inputs.forget()
    assert inputs._last is None


def test_exact_products_are_those_of_the_float_kernel_bit_for_bit() -> None:
    weight, hidden = frozen(), torch.randn(4, SHAPE[1])
    layer = layer_of(weight, CHANNELS)
    exact = QuantLinear(weight, layer.bias)(hidden)
    network = torch.nn.Sequential(layer)
    integers = network(hidden)
    assert not integers.equal(exact)
    with exact_products(network):
        assert network(hidden).equal(exact)
        with exact_products(network):
            assert network(hidden).equal(exact)
        assert network(hidden).equal(exact)
    assert network(hidden).equal(integers)
    with pytest.raises(RuntimeError), exact_products(network):
        network(hidden[:, 1:])
    assert network(hidden).equal(integers)


def test_switching_to_floats_frees_the_integers() -> None:
    layer = layer_of(frozen(), CHANNELS)
    assert layer.int8 is not None
    layer.set_kernel("cached")
    assert (layer.kernel, layer.int8, layer.inputs) == ("cached", None, None)
    layer.set_int8(CHANNELS, QuantizedInputs())
    assert (layer.kernel, layer.cached_NK) == ("int8", None)


def test_a_copy_that_others_hold_is_used_as_it_is() -> None:
    weight, hidden = frozen(), torch.randn(4, SHAPE[1])
    whole = torch.cat([weight.dequantize(), torch.zeros(3, SHAPE[1])])
    layer = QuantLinear(weight)
    layer.set_copy(whole[: SHAPE[0]])
    assert layer.kernel == "cached"
    assert layer.cached_NK is not None
    assert layer.cached_NK.data_ptr() == whole.data_ptr()
    assert layer(hidden).equal(QuantLinear(weight, None, "cached")(hidden))
