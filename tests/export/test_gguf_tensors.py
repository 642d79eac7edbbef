"""Frozen weights in ggml's types: exact where the documentation says so, and else by how much."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType

from export.gguf_tensors import Rounding, stored_halves, stored_weight
from quant.int4 import quantize_rows
from quant.packing import QuantSpec, QuantTensor


def random_weight(bits: int, num_columns: int = 96) -> QuantTensor:
    """Floats on our grid; the mean moves from block to block, so that zero points do, too."""
    torch.manual_seed(0)
    means = torch.randn(70, num_columns // 32, 1).expand(-1, -1, 32).reshape(70, num_columns)
    values = torch.randn(70, num_columns) + 2 * means
    spec = QuantSpec(bits, 32, "zero_point")  # type: ignore[arg-type]
    weight, _ = quantize_rows(lambda start, stop: values[start:stop], tuple(values.shape), spec, 16)
    return weight


def test_int4_with_zero_points_is_exact_as_q5_0() -> None:
    weight, rounding = random_weight(4), Rounding({})
    stored = stored_weight("blk.0.ffn_up.weight", weight, rounding)
    data = stored.data()
    assert stored.type == GGMLQuantizationType.Q5_0
    assert data.shape == stored.shape
    assert data.nbytes == stored.num_bytes
    found = gguf.dequantize(data, GGMLQuantizationType.Q5_0)
    assert np.array_equal(found, weight.dequantize().numpy())
    assert rounding.errors == {}


def test_rows_are_stored_in_the_order_that_is_asked_for() -> None:
    weight, order = random_weight(4), torch.arange(70).flip(0)
    data = stored_weight("blk.0.attn_q.weight", weight, Rounding({}), order).data()
    found = gguf.dequantize(data, GGMLQuantizationType.Q5_0)
    assert np.array_equal(found, weight.dequantize().flip(0).numpy())


def test_int8_is_rounded_to_float16_and_said_to_be() -> None:
    weight, rounding = random_weight(8), Rounding({})
    more_rows = torch.randn(3, 96)
    stored = stored_halves("token_embd.weight", weight, rounding, more_rows=more_rows)
    data = stored.data()
    assert data.shape == stored.shape == (73, 96)
    assert data.dtype == np.float16
    expected = torch.cat([weight.dequantize(), more_rows]).half().numpy()
    assert np.array_equal(data, expected)
    assert set(rounding.errors) == {"token_embd.weight", "token_embd.weight (virtual tokens)"}
    assert max(rounding.errors.values()) < 2**-11


@pytest.mark.parametrize("num_columns", [32, 64])
def test_odd_and_even_numbers_of_blocks_have_the_right_zero_points(num_columns: int) -> None:
    weight = random_weight(4, num_columns)
    data = stored_weight("x", weight, Rounding({})).data()
    found = gguf.dequantize(data, GGMLQuantizationType.Q5_0)
    assert np.array_equal(found, weight.dequantize().numpy())
