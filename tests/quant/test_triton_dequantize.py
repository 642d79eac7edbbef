from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from quant import linear, triton_dequantize
from quant.embedding import QuantEmbedding
from quant.int4 import quantize
from quant.linear import QuantLinear
from quant.nf4 import NF4Tensor
from quant.packing import QuantSpec, QuantTensor
from quant.triton_dequantize import dequantize_to, is_fused, unfused_reason

SHAPE = (48, 64)
SCRIPT = Path(__file__).with_name("interpret_triton.py")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


def weight(spec: QuantSpec | None = None) -> QuantTensor:
    torch.manual_seed(0)
    return quantize(torch.randn(SHAPE), spec or QuantSpec())


def run(what: str, **environment: str) -> None:
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, SCRIPT, what],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@needs_triton
def test_the_kernel_has_the_values_of_torch_s_operations_bit_for_bit() -> None:
    run("interpret", TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.timeout(1200)
def test_the_kernel_compiles_for_a_card_without_fused_roundings(tmp_path: Path) -> None:
    run("compile", TRITON_CACHE_DIR=str(tmp_path))


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Lets every weight be one of a card's; the calls of the kernel, which torch computes."""
    calls = []

    def launch(
        weight: QuantTensor, dtype: torch.dtype, start: int = 0, stop: int | None = None
    ) -> Tensor:
        rows = weight.dequantize(start, stop).to(dtype)
        calls.append((start, start + rows.shape[0]))
        return rows

    for module in (linear, triton_dequantize):
        monkeypatch.setattr(module, "is_fused", lambda *_: True)
    monkeypatch.setattr(triton_dequantize, "launch", launch)
    return calls


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_layer_calls_the_kernel_once_each_way(
    launched: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(linear, "CHUNK_ELEMENTS", SHAPE[1])
    inputs = torch.randn(5, SHAPE[1]).to(dtype).requires_grad_()
    output = QuantLinear(weight())(inputs)
    assert launched == [(0, SHAPE[0])]
    output.sum().backward()
    assert launched == [(0, SHAPE[0])] * 2
    expected = inputs.detach().clone().requires_grad_()
    reference = expected @ weight().dequantize().to(dtype).t()
    reference.sum().backward()
    torch.testing.assert_close(output, reference)
    torch.testing.assert_close(inputs.grad, expected.grad)


def test_a_head_larger_than_a_call_takes_several_and_is_added_up_in_float32(
    launched: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "FUSED_CHUNK_ELEMENTS", 20 * SHAPE[1])
    inputs = torch.randn(5, SHAPE[1]).bfloat16().requires_grad_()
    QuantLinear(weight(QuantSpec(8)))(inputs).sum().backward()
    assert launched == [(0, 20), (20, 40), (40, 48)] * 2
    parts = [weight(QuantSpec(8)).dequantize(a, b).bfloat16() for a, b in launched[:3]]
    ones = [torch.ones(5, len(part)).bfloat16() for part in parts]
    expected = sum((one @ part).float() for one, part in zip(ones, parts, strict=True))
    assert isinstance(expected, Tensor)
    assert inputs.grad is not None
    assert torch.equal(inputs.grad, expected.bfloat16())


def test_rows_of_an_embedding_and_float_copies_come_from_the_kernel(
    launched: list[tuple[int, int]],
) -> None:
    ids = torch.tensor([3, 3, 47])
    rows = QuantEmbedding(weight(), torch.bfloat16)(ids)
    assert torch.equal(rows, weight().dequantize()[ids].bfloat16())
    assert len(launched) == 1
    layer = QuantLinear(weight(), None, "cached", torch.bfloat16)
    assert len(launched) == 2
    assert layer.cached_NK is not None
    assert torch.equal(layer.cached_NK, weight().dequantize().bfloat16())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_processor_keeps_to_torch_s_operations(dtype: torch.dtype) -> None:
    assert not is_fused(weight(), dtype)
    assert torch.equal(dequantize_to(weight(), dtype, 3, 9), weight().dequantize(3, 9).to(dtype))


@pytest.fixture
def _nothing_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_dequantize, "_found", {})


@pytest.mark.usefixtures("_nothing_tried")
def test_without_triton_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "quant.triton_kernel", None)
    assert "triton cannot be imported" in str(unfused_reason(weight(), torch.float32))


@pytest.mark.usefixtures("_nothing_tried")
def test_a_kernel_that_does_not_compile_is_a_reason_and_tried_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = []

    def launch(*arguments: object) -> Tensor:
        tries.append(arguments)
        raise RuntimeError("Failed to find C compiler\nsecond line")

    monkeypatch.setattr(triton_dequantize, "launch", launch)
    for _ in range(2):
        reason = unfused_reason(weight(), torch.bfloat16)
        assert reason == "the kernel cannot run here (RuntimeError: Failed to find C compiler)"
    assert len(tries) == 1


@pytest.mark.usefixtures("_nothing_tried")
def test_a_kernel_with_other_values_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(weight: QuantTensor, dtype: torch.dtype, start: int, stop: int) -> Tensor:
        rows = weight.dequantize(start, stop).to(dtype)
        rows[0, 0] = torch.nextafter(rows[0, 0], torch.tensor(9.0, dtype=dtype))
        return rows

    monkeypatch.setattr(triton_dequantize, "launch", launch)
    assert "values are not" in str(unfused_reason(weight(), torch.float32))


@pytest.mark.usefixtures("_nothing_tried")
def test_out_of_memory_is_no_reason_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(triton_dequantize, "launch", launch)
    with pytest.raises(torch.OutOfMemoryError):
        unfused_reason(weight(), torch.float32)
    assert triton_dequantize._found == {}


def test_grids_that_the_kernel_does_not_know() -> None:
    nf4 = NF4Tensor((2, 64), torch.zeros(64, dtype=torch.uint8), torch.ones(2))
    assert "integer grids" in str(unfused_reason(nf4, torch.float32))
    odd = weight(QuantSpec(4, 24))
    assert "24" in str(unfused_reason(odd, torch.float32))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["zero_point", "symmetric", "block_offset"])
def test_on_a_card_the_kernel_serves(form: str, dtype: torch.dtype) -> None:
    plain = weight(QuantSpec(4, 32, "zero_point" if form == "zero_point" else "symmetric"))
    if form == "block_offset":
        offsets = torch.randn_like(plain.scales)
        spec = QuantSpec(4, 32, "block_offset")
        plain = QuantTensor(spec, SHAPE, plain.codes, plain.scales, None, offsets)
    moved = plain.to(torch.device("cuda"))
    assert unfused_reason(moved, dtype) is None
    assert torch.equal(dequantize_to(moved, dtype).cpu(), plain.dequantize().to(dtype))
