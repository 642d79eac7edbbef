"""Loss and prompt gradient of every family on a card beside those of the processor in float32.

The half-precision cases run on the processor, too, where there is no card to hold them to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ptune_tui.engine.batches import collate
from ptune_tui.engine.gradient import LayerStep
from ptune_tui.engine.model import FrozenModel, load_tokenizer
from ptune_tui.engine.outliers import outlier_channels
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.engine.step import training_gradient
from quant.loading import load
from tests.engine.test_families import CONCATENATED, LEAD, ROWS, SHARED, save_random

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
Load = Callable[..., FrozenModel]


@pytest.fixture(scope="module")
def load_family(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Load:
    text = replace(load_tokenizer(tiny_model), end_token_id=2)
    folders: dict[str, Path] = {}

    def family(
        name: str, device: str = "cpu", dtype: torch.dtype = torch.float32, scheme: str = "int4"
    ) -> FrozenModel:
        if name not in folders:
            folders[name] = save_random(name, tmp_path_factory.mktemp(name))
        loaded = load(
            folders[name],
            kernel="stream",
            scheme=scheme,  # type: ignore[arg-type]
            compute_dtype=dtype,
            device=device,
        )
        return FrozenModel(name, loaded, text, "stream")

    return family


def start(frozen: FrozenModel) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    size = (4, frozen.network.get_input_embeddings().embedding_dim)
    return (0.2 * torch.randn(size, generator=generator)).requires_grad_()


def gradient(frozen: FrozenModel) -> tuple[float, Tensor]:
    prompt = start(frozen)
    loss = training_gradient(frozen, VirtualTokens(prompt), LEAD, collate(ROWS, 2))
    assert prompt.grad is not None
    return loss, prompt.grad


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*SHARED, *CONCATENATED])
def test_float32_on_a_card_is_float32(load_family: Load, name: str) -> None:
    loss, expected = gradient(load_family(name))
    found_loss, found = gradient(load_family(name, "cuda"))
    assert found_loss == pytest.approx(loss, rel=1e-4)
    assert float((found.cpu() - expected).norm() / expected.norm()) < 1e-3


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scheme", ["int4", "nf4"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_half_precision_is_near_float32(
    load_family: Load, name: str, scheme: str, device: str
) -> None:
    if scheme == "nf4":
        pytest.importorskip("bitsandbytes")
    _, expected = gradient(load_family(name, scheme=scheme))
    _, found = gradient(load_family(name, device, torch.bfloat16, scheme))
    assert 0.98 < cosine(found.cpu(), expected) < 1 - 1e-7


@pytest.mark.parametrize("device", DEVICES)
def test_integers_are_near_float32(load_family: Load, device: str) -> None:
    _, expected = gradient(load_family("llama"))
    frozen = load_family("llama", device, torch.bfloat16)
    prompt = start(frozen)
    batch = collate(ROWS, 2)
    outliers = outlier_channels(frozen, VirtualTokens(prompt.detach()), LEAD, batch, 16)
    LayerStep(frozen, "int8", outliers)(VirtualTokens(prompt), LEAD, [batch])
    assert prompt.grad is not None
    assert 0.95 < cosine(prompt.grad.cpu(), expected) < 1 - 1e-7


@pytest.mark.gpu
@pytest.mark.parametrize("scheme", ["int4", "nf4"])
def test_an_evaluation_on_a_card_leaves_gradients_as_they_were(
    load_family: Load, scheme: str
) -> None:
    frozen = load_family("llama", "cuda", torch.bfloat16, scheme)
    _, before = gradient(frozen)
    with torch.no_grad():
        frozen.network(input_ids=torch.tensor([[5, 6, 7]], device="cuda"), use_cache=False)
    _, after = gradient(frozen)
    assert cosine(before, after) > 1 - 1e-6
    assert float(after.abs().max()) > 0
