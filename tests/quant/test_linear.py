from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quant import linear
from quant.embedding import QuantEmbedding
from quant.errors import QuantError
from quant.int4 import quantize
from quant.linear import QuantLinear
from quant.nf4 import quantize_rows_nf4
from quant.packing import FrozenWeight, QuantSpec
from quant.weight_store import WeightStore

SHAPE = (40, 64)


@pytest.fixture(params=["int4", "int8", "nf4"])
def weight(request: pytest.FixtureRequest) -> FrozenWeight:
    torch.manual_seed(0)
    floats = torch.randn(SHAPE)
    if request.param == "nf4":
        return quantize_rows_nf4(lambda a, b: floats[a:b], SHAPE, 64)[0]
    return quantize(floats, QuantSpec(4 if request.param == "int4" else 8))


@pytest.fixture(params=[1, 3, 2**22], ids=["rows one by one", "chunks", "whole"])
def _chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "CHUNK_ELEMENTS", request.param * SHAPE[1])


def gradient(layer: torch.nn.Module, inputs: Tensor) -> Tensor:
    inputs = inputs.clone().requires_grad_()
    (layer(inputs) ** 2).sum().backward()
    assert inputs.grad is not None
    return inputs.grad


def float_layer(weight: FrozenWeight, bias: Tensor | None) -> torch.nn.Linear:
    layer = torch.nn.Linear(SHAPE[1], SHAPE[0], bias=bias is not None).requires_grad_(False)
    layer.weight.copy_(weight.dequantize())
    if bias is not None:
        layer.bias.copy_(bias)
    return layer


@pytest.mark.usefixtures("_chunk")
@pytest.mark.parametrize("kernel", ["stream", "cached"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_value_and_gradient_are_those_of_the_dequantised_weight(
    weight: FrozenWeight, kernel: linear.Kernel, with_bias: bool
) -> None:
    bias = torch.randn(SHAPE[0]) if with_bias else None
    layer, reference = QuantLinear(weight, bias, kernel), float_layer(weight, bias)
    inputs = torch.randn(2, 5, SHAPE[1])
    torch.testing.assert_close(layer(inputs), reference(inputs))
    expected = gradient(reference, inputs)
    atol = 1e-6 * float(expected.abs().max())
    torch.testing.assert_close(gradient(layer, inputs), expected, rtol=1e-6, atol=atol)


@pytest.mark.parametrize("kernel", ["stream", "cached"])
def test_the_gradient_survives_an_evaluation(weight: FrozenWeight, kernel: linear.Kernel) -> None:
    layer, inputs = QuantLinear(weight, None, kernel), torch.randn(3, SHAPE[1])
    before = gradient(layer, inputs)
    layer.eval()
    with torch.no_grad():
        layer(inputs)
    layer.train()
    assert torch.equal(gradient(layer, inputs), before)


def test_stream_saves_no_tensor_for_the_backward_pass(weight: FrozenWeight) -> None:
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    inputs = torch.randn(3, SHAPE[1], requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, keep):
        QuantLinear(weight, None, "stream")(inputs)
    assert saved == []


def test_stream_in_half_precision_gives_back_half_precision(weight: FrozenWeight) -> None:
    inputs = torch.randn(3, SHAPE[1]).bfloat16().requires_grad_()
    output = QuantLinear(weight, None, "stream")(inputs)
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert inputs.grad is not None
    assert inputs.grad.dtype == torch.bfloat16


def test_stream_works_under_autocast(weight: FrozenWeight) -> None:
    layer, inputs = QuantLinear(weight, None, "stream"), torch.randn(3, SHAPE[1]).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(inputs)
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert inputs.grad is not None
    assert inputs.grad.dtype == torch.float32


def test_switching_the_kernel_builds_and_frees_the_copy(weight: FrozenWeight) -> None:
    layer = QuantLinear(weight, None, "cached", torch.bfloat16)
    assert layer.cached_NK is not None
    assert layer.cached_NK.dtype == torch.bfloat16
    layer.set_kernel("stream")
    assert layer.cached_NK is None
    layer.set_kernel("cached")
    assert layer.cached_NK is not None


def test_an_unknown_kernel_is_refused(weight: FrozenWeight) -> None:
    with pytest.raises(QuantError, match="int9"):
        QuantLinear(weight).set_kernel("int9")  # type: ignore[arg-type]


def test_nothing_is_a_parameter_or_in_the_state(weight: FrozenWeight) -> None:
    layer = QuantLinear(weight, torch.zeros(SHAPE[0]), "cached")
    assert list(layer.parameters()) == []
    assert layer.state_dict() == {}
    assert (layer.in_features, layer.out_features) == (SHAPE[1], SHAPE[0])


def test_a_move_takes_the_codes_along_and_a_cast_leaves_them(weight: FrozenWeight) -> None:
    layer = QuantLinear(weight, torch.zeros(SHAPE[0]))
    layer.to(torch.bfloat16)
    assert layer.weight is weight
    layer.to("meta")
    assert layer.weight.device.type == "meta"


def test_a_tied_pair_shares_its_weight_before_and_after_a_move() -> None:
    store = WeightStore(quantize(torch.randn(SHAPE), QuantSpec(8)))
    pair = torch.nn.ModuleList([QuantEmbedding(store), QuantLinear(store)])
    assert pair[0].weight is pair[1].weight
    pair.to("meta")
    assert pair[0].weight is pair[1].weight


def test_embedding_rows_are_rows_of_the_dequantised_weight() -> None:
    weight = quantize(torch.randn(SHAPE), QuantSpec(8))
    embedding = QuantEmbedding(weight)
    ids = torch.tensor([[0, 39, 7], [7, 7, 1]])
    assert torch.equal(embedding(ids), weight.dequantize()[ids])
    assert embedding(ids[:, :0]).shape == (2, 0, SHAPE[1])
    assert QuantEmbedding(weight, torch.bfloat16)(ids).dtype == torch.bfloat16
    assert (embedding.num_embeddings, embedding.embedding_dim) == SHAPE
