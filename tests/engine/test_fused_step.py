"""The written-out step computes what transformers' plain forward does, in less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from export.encoding import EncodedRow
from ptune_tui.engine.batches import Batch, collate
from ptune_tui.engine.fused import weights
from ptune_tui.engine.fused.step import FusedStep, packed
from ptune_tui.engine.fused.weights import unsupported_reason
from ptune_tui.engine.gradient import LayerStep, unfused_reason
from ptune_tui.engine.model import FrozenModel, load_tokenizer
from ptune_tui.engine.outliers import outlier_channels
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from quant.linear import QuantLinear
from quant.loading import load
from quant.native.build import build
from tests.engine.test_families import (
    LEAD,
    ROWS,
    WINDOW,
    Family,
    plain_loss,
    save_random,
    start,
)
from tests.quant.conftest import float_twin

pytestmark = pytest.mark.skipif(build().library is None, reason=build().reason)

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama of one layer": ("llama", {"num_hidden_layers": 1}),
    "mistral": ("mistral", {"num_key_value_heads": 1, "head_dim": 32}),
    "qwen2": ("qwen2", {}),
    "qwen2 of two kinds": (
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "layer_types": ["full_attention", "sliding_attention"],
        },
    ),
}


@pytest.fixture(scope="module")
def families(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    text = replace(load_tokenizer(tiny_model), end_token_id=2)
    made: dict[str, Family] = {}

    def family(name: str) -> Family:
        if name not in made:
            kind, changes = FAMILIES[name]
            loaded = load(
                save_random(kind, tmp_path_factory.mktemp("model"), **changes), kernel="stream"
            )
            made[name] = Family(FrozenModel(name, loaded, text, "stream"), float_twin(loaded))
        return made[name]

    return family


@pytest.fixture(scope="module")
def llama(families: Any) -> FrozenModel:
    frozen: FrozenModel = families("llama").frozen
    return frozen


def layer_prefix(frozen: FrozenModel, length: int = 3) -> Tensor:
    config = frozen.config
    shape = (config.num_hidden_layers, 2, config.num_key_value_heads, length)
    generator = torch.Generator().manual_seed(4)
    return (0.3 * torch.randn((*shape, config.head_dim), generator=generator)).requires_grad_()


def tokens(frozen: FrozenModel, length: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    size = (length, frozen.config.hidden_size)
    return (0.2 * torch.randn(size, generator=generator)).requires_grad_()


Step = Callable[[Prompt, list[int], Sequence[Batch]], float]


def computed(
    step: Step, leaf: Tensor, batches: Sequence[Batch], lead: list[int] = LEAD
) -> tuple[float, Tensor]:
    """Loss and gradient of virtual tokens, or of keys and values."""
    leaf = leaf.detach().clone().requires_grad_()
    prompt = VirtualTokens(leaf) if leaf.dim() == 2 else LayerPrefix(leaf)
    loss = step(prompt, lead, batches)
    assert leaf.grad is not None
    return loss, leaf.grad


def assert_same(found: tuple[float, Tensor], expected: tuple[float, Tensor]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert float((found[1] - expected[1]).norm() / expected[1].norm()) < 1e-5


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kernel", ["stream", "cached"])
def test_loss_and_gradient_equal_those_of_plain_concatenation(
    families: Any, name: str, kernel: str
) -> None:
    family = families(name)
    plain = start(family)
    total = torch.stack([plain_loss(family.twin, plain, row) for row in ROWS]).sum()
    expected = total / sum(len(row.response_ids) for row in ROWS)
    expected.backward()
    assert plain.grad is not None
    step = FusedStep(family.frozen, kernel, {})
    for lead in ([], LEAD):
        found = computed(step, start(family), [collate(ROWS, len(lead))], lead)
        assert_same(found, (float(expected.detach()), plain.grad))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("lead", [[], LEAD], ids=["no lead", "lead"])
def test_gradients_of_keys_and_values_equal_those_through_transformers_layers(
    families: Any, name: str, lead: list[int]
) -> None:
    frozen = families(name).frozen
    leaf, batches = layer_prefix(frozen), [collate(ROWS, len(lead))]
    expected = computed(LayerStep(frozen, "stream", {}), leaf, batches, lead)
    assert_same(computed(FusedStep(frozen, "stream", {}), leaf, batches, lead), expected)


@pytest.mark.parametrize("make", [tokens, layer_prefix])
def test_micro_batches_behind_one_prefix_equal_one_batch(
    llama: FrozenModel, make: Callable[[FrozenModel], Tensor]
) -> None:
    step, leaf = FusedStep(llama, "stream", {}), make(llama)
    whole = computed(step, leaf, [collate(ROWS, 2)])
    parts = computed(step, leaf, [collate(ROWS[:1], 2), collate(ROWS[1:], 2)])
    assert_same(parts, whole)


@pytest.mark.parametrize("kernel", ["stream", "int8"])
@pytest.mark.parametrize("make", [tokens, layer_prefix])
def test_layers_computed_again_give_the_same_bits(
    llama: FrozenModel, kernel: str, make: Callable[[FrozenModel], Tensor]
) -> None:
    outliers = outlier_channels(llama, None, LEAD, collate(ROWS, 2), 4)
    batches = [collate(ROWS[:2], 2), collate(ROWS[2:], 2)]
    kept = FusedStep(llama, kernel, outliers)
    again = FusedStep(llama, kernel, outliers, checkpointing=True)
    expected, found = (computed(step, make(llama), batches) for step in (kept, again))
    assert found[0] == expected[0]
    assert found[1].equal(expected[1])
    assert again.buffers.num_bytes < kept.buffers.num_bytes


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2"])
@pytest.mark.parametrize("make", [tokens, layer_prefix])
@pytest.mark.parametrize("prefix_dtype", [torch.float32, torch.bfloat16])
def test_integers_point_the_gradient_the_same_way(
    families: Any,
    name: str,
    make: Callable[[FrozenModel], Tensor],
    prefix_dtype: torch.dtype,
) -> None:
    frozen, batch = families(name).frozen, collate(ROWS, 2)
    leaf = make(frozen)
    outliers = outlier_channels(frozen, None, LEAD, batch, 8)
    exact = computed(FusedStep(frozen, "stream", {}), leaf, [batch])
    step = FusedStep(frozen, "int8", outliers, prefix_dtype=prefix_dtype)
    found = computed(step, leaf, [batch])
    assert found[0] == pytest.approx(exact[0], rel=0.02)
    assert found[0] != exact[0]
    assert cosine(found[1], exact[1]) > 0.97


@pytest.mark.parametrize("prefix_dtype", [torch.float32, torch.bfloat16])
def test_a_large_weight_becomes_floats_in_parts(
    llama: FrozenModel, monkeypatch: pytest.MonkeyPatch, prefix_dtype: torch.dtype
) -> None:
    batch, leaf = collate(ROWS, 2), tokens(llama)
    kernel = "stream" if prefix_dtype == torch.float32 else "int8"
    outliers = outlier_channels(llama, None, LEAD, batch, 8) if kernel == "int8" else {}
    step = FusedStep(llama, kernel, outliers, prefix_dtype=prefix_dtype)
    whole = computed(step, leaf, [batch])
    # Seven rows of a layer's weight: no divisor of its outputs.
    monkeypatch.setattr(weights, "WHOLE_ELEMENTS", 7 * llama.config.hidden_size)
    parts = computed(step, leaf, [batch])
    if kernel == "stream":
        assert_same(parts, whole)
    else:
        # Sums of parts are rounded once more each.
        assert parts[0] == pytest.approx(whole[0], rel=1e-2)
        assert cosine(parts[1], whole[1]) > 0.995


def test_tokens_before_the_rows_are_rounded_to_bfloat16_where_asked(llama: FrozenModel) -> None:
    batch, leaf = collate(ROWS, 2), tokens(llama)
    outliers = outlier_channels(llama, None, LEAD, batch, 8)
    exact, rounded = (
        computed(FusedStep(llama, "int8", outliers, prefix_dtype=dtype), leaf, [batch])
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert not rounded[1].equal(exact[1])
    assert 0.98 < cosine(rounded[1], exact[1]) < 1 - 1e-7


def test_it_reads_weights_of_another_grid(llama: FrozenModel, tmp_path: Path) -> None:
    loaded = load(save_random("llama", tmp_path), kernel="stream", scheme="nf4")
    frozen, batch = FrozenModel("nf4", loaded, llama.text, "stream"), collate(ROWS, 2)
    expected = computed(LayerStep(frozen, "stream", {}), tokens(frozen), [batch])
    for kernel in ("stream", "cached"):
        assert_same(computed(FusedStep(frozen, kernel, {}), tokens(frozen), [batch]), expected)
    outliers = outlier_channels(frozen, None, LEAD, batch, 8)
    integers = computed(FusedStep(frozen, "int8", outliers), tokens(frozen), [batch])
    assert cosine(integers[1], expected[1]) > 0.97


def test_rows_of_one_token_are_rows(llama: FrozenModel) -> None:
    rows = [EncodedRow([*LEAD, 40], [50]), EncodedRow([*LEAD, 41, 42], [51]), ROWS[0]]
    batch = collate(rows, 2)
    assert batch.lengths.tolist()[0] == 1
    expected = computed(LayerStep(llama, "stream", {}), tokens(llama), [batch])
    assert_same(computed(FusedStep(llama, "stream", {}), tokens(llama), [batch]), expected)


def test_a_token_may_be_wanted_twice(llama: FrozenModel) -> None:
    batch = collate(ROWS, 2)
    twice = replace(
        batch,
        label_rows=torch.cat([batch.label_rows, batch.label_rows]),
        label_columns=torch.cat([batch.label_columns, batch.label_columns]),
        labels=torch.cat([batch.labels, batch.labels + 1]),
    )
    assert len(twice.labels) > 1
    expected = computed(LayerStep(llama, "stream", {}), tokens(llama), [twice])
    assert_same(computed(FusedStep(llama, "stream", {}), tokens(llama), [twice]), expected)


def test_logits_come_in_parts_that_add_up(
    llama: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, batch = FusedStep(llama, "stream", {}), collate(ROWS, 2)
    whole = computed(step, tokens(llama), [batch])
    monkeypatch.setattr("ptune_tui.engine.fused.step._MAX_LOGITS", 3 * 100)
    assert_same(computed(step, tokens(llama), [batch]), whole)


@pytest.mark.parametrize("kernel", ["stream", "int8"])
def test_a_prompt_that_is_not_finite_has_a_loss_that_is_not(
    llama: FrozenModel, kernel: str
) -> None:
    outliers = outlier_channels(llama, None, LEAD, collate(ROWS, 2), 4)
    leaf = tokens(llama).detach()
    leaf[1, 5] = torch.nan
    loss, gradient = computed(FusedStep(llama, kernel, outliers), leaf, [collate(ROWS, 2)])
    assert loss != loss
    assert not gradient.isfinite().all()


@pytest.mark.parametrize(("kernel", "checkpointing"), [("stream", False), ("int8", True)])
def test_memory_stays_what_the_largest_batch_took(
    llama: FrozenModel, kernel: str, checkpointing: bool
) -> None:
    outliers = outlier_channels(llama, None, LEAD, collate(ROWS, 2), 4)
    step = FusedStep(llama, kernel, outliers, checkpointing=checkpointing)
    # More tokens than a buffer's grain has room for.
    rows = [replace(row, prompt_ids=row.prompt_ids * 8) for row in ROWS] * 12
    leaf = tokens(llama)
    computed(step, leaf, [collate(rows, 2)])
    num_bytes = step.buffers.num_bytes
    first = computed(step, leaf, [collate(rows[:5], 2)])
    computed(step, leaf, [collate(rows[7:9], 2), collate(rows[:20], 2)])
    computed(step, leaf, [collate(rows, 2)])
    assert step.buffers.num_bytes == num_bytes
    again = computed(step, leaf, [collate(rows[:5], 2)])
    assert again[0] == first[0]
    assert again[1].equal(first[1])


def test_stream_holds_no_float_copies_and_cached_holds_each_once(llama: FrozenModel) -> None:
    layers = [module for module in llama.network.modules() if isinstance(module, QuantLinear)]
    FusedStep(llama, "cached", {})
    inner = [layer for layer in layers if layer is not llama.network.get_output_embeddings()]
    assert all(layer.kernel == "cached" and layer.cached_NK is not None for layer in inner)
    LayerStep(llama, "stream", {})
    FusedStep(llama, "stream", {})
    assert all(layer.cached_NK is None for layer in layers)


def test_packed_rows_lie_end_to_end_and_their_padding_is_a_row_of_its_own() -> None:
    batch = collate(ROWS, 2)
    ids, rows, firsts = packed(batch, 10)
    lengths = [len(row.prompt_ids) + len(row.response_ids) - 3 for row in ROWS]
    assert len(ids) % 32 == 0
    assert rows.starts.tolist() == [0, *torch.tensor(lengths).cumsum(0).tolist(), len(ids)]
    assert firsts.tolist() == rows.starts.tolist()[:-2]
    for row, first, length in zip(ROWS, firsts.tolist(), lengths, strict=True):
        own = slice(first, first + length)
        assert ids[own].tolist() == (row.prompt_ids + row.response_ids[:-1])[2:]
        assert rows.positions[own].tolist() == list(range(10, 10 + length))


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("qwen3", {}, "qwen3"),
        ("llama", {"head_dim": 24}, "24"),
        ("llama", {"hidden_act": "gelu"}, "gelu"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}},
            "dynamic",
        ),
    ],
)
def test_what_it_does_not_cover_is_said(
    tiny_model: Path, tmp_path: Path, kind: str, changes: dict[str, Any], reason: str
) -> None:
    loaded = load(save_random(kind, tmp_path, **changes))
    frozen = FrozenModel(kind, loaded, load_tokenizer(tiny_model), "stream")
    assert reason in str(unsupported_reason(frozen.network))
    assert reason in str(unfused_reason(frozen))


def test_it_covers_float32_on_a_processor_only(llama: FrozenModel, tiny_model: Path) -> None:
    assert unfused_reason(llama) is None
    loaded = load(tiny_model, compute_dtype=torch.bfloat16)
    half = FrozenModel("tiny", loaded, llama.text, "stream")
    assert "bfloat16" in str(unfused_reason(half))
