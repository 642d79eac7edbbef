"""Steps through transformers' own layers: parts of a batch, layers computed again, integers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptune_tui.engine import gradient
from ptune_tui.engine.batches import Batch, collate
from ptune_tui.engine.gradient import LayerStep, decoder_layers
from ptune_tui.engine.model import FrozenModel, load_tokenizer
from ptune_tui.engine.outliers import outlier_channels
from ptune_tui.engine.prompt import Prompt, VirtualTokens
from ptune_tui.engine.step import label_logits, prefix_of, training_gradient
from quant.linear import QuantLinear, exact_products
from quant.loading import load
from tests.engine.test_families import LEAD, ROWS, save_random
from tests.engine.test_fused_step import assert_same, computed, cosine, layer_prefix

SHARED = ["qwen3", "gemma3_text", "gpt2", "opt"]
CONCATENATED = ["falcon_h1", "mamba"]
PARTS = [collate(ROWS[:1], 2), collate(ROWS[1:], 2)]


@pytest.fixture(scope="module")
def families(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    text = replace(load_tokenizer(tiny_model), end_token_id=2)
    made: dict[str, FrozenModel] = {}

    def family(name: str) -> FrozenModel:
        if name not in made:
            loaded = load(save_random(name, tmp_path_factory.mktemp(name)), kernel="stream")
            made[name] = FrozenModel(name, loaded, text, "stream")
        return made[name]

    return family


def virtual_tokens(frozen: FrozenModel) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    size = (4, frozen.network.get_input_embeddings().embedding_dim)
    return 0.2 * torch.randn(size, generator=generator)


def one_batch(frozen: FrozenModel) -> tuple[float, Tensor]:
    """The gradient of a whole batch, which is tested against transformers' plain forward."""

    def step(prompt: Prompt, lead: list[int], batches: Any) -> float:
        return training_gradient(frozen, prompt, lead, batches[0])

    return computed(step, virtual_tokens(frozen), [collate(ROWS, 2)])


@pytest.mark.parametrize("name", [*SHARED, *CONCATENATED])
def test_layers_computed_again_give_the_same_bits(
    families: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, leaf = families(name), virtual_tokens(families(name))
    expected = computed(LayerStep(frozen, "stream", {}), leaf, PARTS)
    wrapped: list[int] = []
    checkpoint = gradient.checkpoint

    def counted(*arguments: Any, **options: Any) -> Any:
        wrapped.append(1)
        return checkpoint(*arguments, **options)

    monkeypatch.setattr(gradient, "checkpoint", counted)
    found = computed(LayerStep(frozen, "stream", {}, checkpointing=True), leaf, PARTS)
    assert len(wrapped) == frozen.config.num_hidden_layers * len(PARTS)
    assert found[0] == expected[0]
    assert found[1].equal(expected[1])
    assert not any("forward" in vars(layer) for layer in decoder_layers(frozen.network))


@pytest.mark.parametrize("name", SHARED)
def test_keys_and_values_take_gradients_from_micro_batches_and_recomputation(
    families: Any, name: str
) -> None:
    frozen = families(name)
    config = frozen.config
    if name in ("gpt2", "opt"):
        shape = (config.num_hidden_layers, 2, config.num_attention_heads, 3, 16)
        leaf = 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(4))
    else:
        leaf = layer_prefix(frozen)
    expected = computed(LayerStep(frozen, "stream", {}), leaf, [collate(ROWS, 2)])
    found = computed(LayerStep(frozen, "stream", {}, checkpointing=True), leaf, PARTS)
    assert_same(found, expected)


@pytest.mark.parametrize("name", [*SHARED, "falcon_h1"])
def test_integers_are_near_and_leave_no_trace_in_what_is_scored(families: Any, name: str) -> None:
    frozen, batch = families(name), collate(ROWS, 2)
    leaf = virtual_tokens(frozen)
    before, expected = logits(frozen, leaf, batch), one_batch(frozen)
    outliers = outlier_channels(frozen, VirtualTokens(leaf), LEAD, batch, 8)
    assert all(len(channels) == 8 for channels in outliers.values())
    found = computed(LayerStep(frozen, "int8", outliers), leaf, PARTS)
    try:
        assert found[0] == pytest.approx(expected[0], rel=0.05)
        assert found[0] != expected[0]
        assert cosine(found[1], expected[1]) > 0.9
        again = computed(LayerStep(frozen, "int8", outliers, checkpointing=True), leaf, PARTS)
        assert again[1].equal(found[1])
        assert not logits(frozen, leaf, batch).equal(before)
        with exact_products(frozen.network):
            assert logits(frozen, leaf, batch).equal(before)
    finally:
        LayerStep(frozen, "stream", {})
    assert logits(frozen, leaf, batch).equal(before)


def logits(frozen: FrozenModel, leaf: Tensor, batch: Batch) -> Tensor:
    with torch.no_grad():
        return label_logits(frozen.network, prefix_of(frozen, VirtualTokens(leaf), LEAD), batch)


def test_the_head_stays_exact(families: Any) -> None:
    frozen = families("qwen3")
    outliers = outlier_channels(frozen, None, LEAD, collate(ROWS, 2), 2)
    LayerStep(frozen, "int8", outliers)
    head = frozen.network.get_output_embeddings()
    kernels = {
        layer.kernel
        for layer in frozen.network.modules()
        if isinstance(layer, QuantLinear) and layer is not head
    }
    assert kernels == {"int8"}
    assert head.kernel == "stream"
    LayerStep(frozen, "stream", {})


def test_the_loudest_channels_are_those_with_the_largest_squares(families: Any) -> None:
    frozen = families("opt")
    first = decoder_layers(frozen.network)[0]
    norm = first.self_attn_layer_norm
    before = norm.weight.detach().clone()
    norm.weight[[7, 50]] *= 100
    try:
        outliers = outlier_channels(frozen, None, LEAD, collate(ROWS, 2), 2)
    finally:
        norm.weight.copy_(before)
    prefix = "model.decoder.layers.0.self_attn."
    for name in ("q_proj", "k_proj", "v_proj"):
        assert outliers[prefix + name] == [7, 50]
    many = outlier_channels(frozen, None, LEAD, collate(ROWS, 2), 10**6)
    assert many[prefix + "q_proj"] == list(range(64))
