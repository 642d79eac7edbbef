from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch

from quant.int4 import quantize
from quant.packing import (
    FrozenWeight,
    QuantSpec,
    QuantTensor,
    pack_codes,
    unpack_codes,
    weights_hash,
)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("length", [1, 7, 32])
def test_codes_survive_packing(bits: int, length: int) -> None:
    codes = torch.randint(0, 1 << bits, (3, length), dtype=torch.uint8)
    packed = pack_codes(codes, bits)
    assert packed.shape == (3, (length * bits + 7) // 8)
    assert torch.equal(unpack_codes(packed, bits)[:, :length], codes)


def test_the_even_element_is_the_low_nibble() -> None:
    assert pack_codes(torch.tensor([[1, 2, 3]], dtype=torch.uint8), 4).tolist() == [[0x21, 0x03]]


@pytest.fixture
def weight() -> QuantTensor:
    torch.manual_seed(0)
    return quantize(torch.randn(10, 80), QuantSpec())


def test_part_of_the_rows_is_part_of_the_whole(weight: QuantTensor) -> None:
    assert isinstance(weight, FrozenWeight)
    assert torch.equal(weight.dequantize(3, 7), weight.dequantize()[3:7])


def test_selected_rows_are_rows_of_the_whole(weight: QuantTensor) -> None:
    index = torch.tensor([9, 0, 0, 4])
    assert torch.equal(weight.rows(index).dequantize(), weight.dequantize()[index])


def test_another_device_keeps_the_dtypes(weight: QuantTensor) -> None:
    moved = weight.to(torch.device("meta"))
    assert moved.device.type == "meta"
    assert [t.dtype for t in moved.stored_tensors().values()] == [
        t.dtype for t in weight.stored_tensors().values()
    ]


@pytest.mark.parametrize("part", ["codes", "scales", "zero_points"])
def test_the_hash_sees_one_changed_value(
    weight: QuantTensor, part: Literal["codes", "scales", "zero_points"]
) -> None:
    changed = getattr(weight, part).clone()
    changed.view(torch.uint8).view(-1)[5] ^= 1
    other = replace(weight, **{part: changed})
    assert weights_hash({"w": weight}) != weights_hash({"w": other})


def test_the_hash_depends_on_names_and_not_on_their_order(weight: QuantTensor) -> None:
    vector = torch.ones(3)
    assert weights_hash({"a": weight, "b": vector}) == weights_hash({"b": vector, "a": weight})
    assert weights_hash({"a": weight}) != weights_hash({"b": weight})
