"""Gradients survive evaluations in every grid and precision; bitsandbytes' own layer loses them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from export.encoding import EncodedRow
from ptune_tui.engine.batches import collate
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.engine.step import label_logits, prefix_of, training_gradient
from quant.linear import QuantLinear
from quant.nf4 import bitsandbytes_functional, quantize_rows_nf4

BATCH = collate(
    [EncodedRow([5, 6, 40, 41, 42], [50, 2]), EncodedRow([5, 6, 43], [51, 52, 53, 2])], 2
)


def start(frozen: FrozenModel) -> Tensor:
    torch.manual_seed(3)
    return (0.2 * torch.randn(4, frozen.config.hidden_size)).requires_grad_()


def gradient(frozen: FrozenModel) -> Tensor:
    prompt = start(frozen)
    training_gradient(frozen, VirtualTokens(prompt), [5, 6], BATCH)
    assert prompt.grad is not None
    return prompt.grad


@pytest.mark.parametrize("kernel", ["stream", "cached"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_evaluation_pass_leaves_nf4_gradients_as_they_were(
    tiny_model: Path, kernel: str, dtype: torch.dtype
) -> None:
    frozen = load_frozen(tiny_model, "tiny", "nf4", kernel, compute_dtype=dtype)
    before = gradient(frozen)
    with torch.no_grad():
        prefix = prefix_of(frozen, VirtualTokens(start(frozen)), [5, 6])
        logits = label_logits(frozen.network, prefix, BATCH)
    assert logits.dtype == dtype
    after = gradient(frozen)
    assert after.dtype == torch.float32
    assert torch.equal(before, after)
    assert float(after.abs().max()) > 0


@pytest.mark.parametrize(("scheme", "dtype"), [("int4", torch.bfloat16), ("nf4", torch.float16)])
def test_sixteen_bits_give_nearly_the_gradient_of_float32(
    tiny_model: Path, scheme: str, dtype: torch.dtype
) -> None:
    exact = gradient(load_frozen(tiny_model, "tiny", scheme, "cached"))  # type: ignore[arg-type]
    frozen = load_frozen(tiny_model, "tiny", scheme, "cached", compute_dtype=dtype)  # type: ignore[arg-type]
    rounded = gradient(frozen)
    cosine = torch.nn.functional.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0)
    assert 0.99 < float(cosine) < 1 - 1e-7


def test_bitsandbytes_layer_loses_the_gradient_that_ours_keeps() -> None:
    functional = bitsandbytes_functional()
    if not functional.has_avx512bf16():
        pytest.skip("bitsandbytes repacks weights only on processors with AVX512-BF16")
    from bitsandbytes.nn import Linear4bit

    torch.manual_seed(0)
    floats = torch.randn(64, 128)
    theirs = Linear4bit(
        128,
        64,
        bias=False,
        compute_dtype=torch.bfloat16,
        quant_type="nf4",
        compress_statistics=False,
    )
    theirs.load_state_dict({"weight": floats})
    theirs = theirs.to("cpu").eval()
    weight, _ = quantize_rows_nf4(lambda a, b: floats[a:b], (64, 128), 64)
    ours = QuantLinear(weight, compute_dtype=torch.bfloat16).eval()
    inputs = torch.randn(3, 128, dtype=torch.bfloat16)
    with torch.no_grad():
        torch.testing.assert_close(theirs(inputs), ours(inputs), rtol=0.05, atol=0.5)
    without_gradient = inputs.clone().requires_grad_()
    theirs(without_gradient).sum().backward()
    assert without_gradient.grad is None
    with_gradient = inputs.clone().requires_grad_()
    ours(with_gradient).sum().backward()
    assert with_gradient.grad is not None
    expected = weight.dequantize().sum(0).to(torch.bfloat16).expand(3, -1)
    torch.testing.assert_close(with_gradient.grad, expected, rtol=0.05, atol=0.2)
