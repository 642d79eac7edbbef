from __future__ import annotations

import sys

import pytest
import torch

from quant.nf4 import quantize_rows_nf4
from quant.packing import FrozenWeight

functional = pytest.importorskip("bitsandbytes.functional")


@pytest.mark.parametrize("shape", [(7, 64), (48, 576)])
@pytest.mark.parametrize("chunk_rows", [5, 100])
def test_codes_and_values_are_those_of_bitsandbytes(
    shape: tuple[int, int], chunk_rows: int
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape)
    packed, state = functional.quantize_4bit(
        weight, blocksize=64, compress_statistics=False, quant_type="nf4"
    )
    ours, error = quantize_rows_nf4(lambda a, b: weight[a:b], shape, chunk_rows)
    theirs = functional.dequantize_4bit(packed, state)
    assert isinstance(ours, FrozenWeight)
    assert torch.equal(ours.codes, packed.flatten())
    assert torch.equal(ours.dequantize(), theirs)
    assert torch.equal(ours.dequantize(2, 5), theirs[2:5])
    assert error == pytest.approx(float((theirs - weight).norm() / weight.norm()), rel=1e-4)


@pytest.mark.parametrize("shape", [(7, 96), (33, 100), (5, 63)])
def test_blocks_that_cross_rows(shape: tuple[int, int]) -> None:
    # bitsandbytes 0.50's CPU kernel reads such blocks as if each row began a new one, which makes
    # its own values wrong; its generic implementation, which odd K use, is the reference.
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute

    torch.manual_seed(0)
    weight = torch.randn(shape)
    packed, state = functional.quantize_4bit(
        weight, blocksize=64, compress_statistics=False, quant_type="nf4"
    )
    reference = _dequantize_4bit_compute(
        packed.flatten(), state.absmax, state.code, 64, shape, torch.float32
    )
    ours, error = quantize_rows_nf4(lambda a, b: weight[a:b], shape, 3)
    assert torch.equal(ours.dequantize(), reference)
    assert torch.equal(ours.dequantize(2, 4), reference[2:4])
    assert error < 0.1


def test_the_module_that_fetches_code_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    marker = object()
    monkeypatch.setitem(sys.modules, "kernels", marker)  # type: ignore[arg-type]
    quantize_rows_nf4(lambda a, b: torch.ones(b - a, 64), (2, 64), 2)
    assert sys.modules["kernels"] is marker
