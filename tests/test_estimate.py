"""Memory and time of a step: the parts against what autograd keeps, and how they grow."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import pytest

from ptune_tui import estimate as estimating
from ptune_tui.activations import kept_floats
from ptune_tui.config import MethodName
from ptune_tui.estimate import estimate, fit
from ptune_tui.limits import auto_kernels, first_that_fits, limits
from ptune_tui.model_numbers import DEFAULT_MODEL_NUMBERS, numbers_of_config
from ptune_tui.step_setting import Setting, num_trained
from ptune_tui.throughput import (
    MEASURED,
    NOT_MEASURED,
    card_throughput,
    processor_throughput,
)

NUMBERS = DEFAULT_MODEL_NUMBERS
HERE = processor_throughput(["avx512_vnni"], 2)
NUM_ROWS, NUM_TOKENS, NUM_PREFIX = 2, 16, 8
METHODS: list[MethodName] = ["prompt", "residual", "lowrank", "p-tuning", "prefix"]
WIDE: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def peak(**changes: Any) -> int:
    return estimate(NUMBERS, dataclasses.replace(Setting(), **changes)).peak_bytes


@pytest.mark.parametrize("kernel", ["stream", "cached", "int8"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("path", ["fused", "cpu", "cuda"])
def test_memory_and_time_grow_with_every_number(
    kernel: str, method: MethodName, checkpointing: bool, path: str
) -> None:
    setting = Setting(
        kernel=kernel,  # type: ignore[arg-type]
        method=method,
        checkpointing=checkpointing,
        device="cuda" if path == "cuda" else "cpu",
        has_compiled_passes=path == "fused",
    )
    before = estimate(NUMBERS, setting, HERE)
    assert before.seconds is not None
    for name, value in [
        ("batch_size", 64),
        ("num_row_tokens", 128),
        ("num_virtual_tokens", 100),
        ("num_label_tokens", 40),
    ]:
        after = estimate(NUMBERS, dataclasses.replace(setting, **{name: value}), HERE)
        assert after.peak_bytes > before.peak_bytes, name
        assert after.seconds is not None
        assert after.seconds > before.seconds, name


def test_kernels_micro_batches_and_checkpointing_trade_memory_as_they_should() -> None:
    assert peak(kernel="stream") < peak(kernel="int8") < peak(kernel="cached")
    assert peak(micro_batch_size=8) < peak(micro_batch_size=16) < peak()
    assert peak(micro_batch_size=32) == peak()
    assert peak(checkpointing=True) < peak()
    assert peak(has_compiled_passes=True) < peak()
    fused = peak(has_compiled_passes=True, kernel="stream")
    assert peak(has_compiled_passes=True, kernel="stream", checkpointing=True) < fused
    assert peak(method="prefix", reparametrise=True) > peak(method="prefix")


def test_chunks_are_those_of_the_engine() -> None:
    from ptune_tui.engine.fused.weights import WHOLE_ELEMENTS
    from quant.linear import CHUNK_ELEMENTS, FUSED_CHUNK_ELEMENTS

    assert estimating.WHOLE_WEIGHTS == WHOLE_ELEMENTS
    assert estimating.CHUNK_WEIGHTS == CHUNK_ELEMENTS
    assert estimating.FUSED_CHUNK_WEIGHTS == FUSED_CHUNK_ELEMENTS


def test_the_lead_of_a_template_is_computed_and_not_trained() -> None:
    plain = Setting(method="prefix", num_virtual_tokens=20)
    led = dataclasses.replace(plain, num_lead_tokens=40)
    assert num_trained(NUMBERS, led) == num_trained(NUMBERS, plain)
    assert (plain.num_computed_prefix_tokens, led.num_computed_prefix_tokens) == (0, 40)
    assert estimate(NUMBERS, led).kept > estimate(NUMBERS, plain).kept


def test_parts_sum_to_the_peak_and_none_is_negative() -> None:
    found = estimate(NUMBERS, Setting(batch_size=1, num_row_tokens=8))
    assert sum(found.parts.values()) == found.peak_bytes
    assert all(part >= 0 for part in found.parts.values())
    assert found.loading > 0
    assert (found.seconds, found.tokens_per_second) == (None, None)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("family", "stated"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 64}),
        ("mistral", {}),
        ("gemma2", {"head_dim": 64, "query_pre_attn_scalar": 32}),
        ("gemma3_text", {"head_dim": 64}),
        ("phi3", {}),
        ("gpt_neox", {"tie_word_embeddings": False}),
        ("opt", {"ffn_dim": 320, "word_embed_proj_dim": 128}),
        ("gpt2", {"n_embd": 128, "n_head": 4, "n_inner": 320, "n_positions": 64}),
    ],
)
def test_a_layer_keeps_what_autograd_keeps_behind_a_shared_prefix(
    family: str, stated: dict[str, Any], device: Literal["cpu", "cuda"], tmp_path: Path
) -> None:
    """On CUDA activations are bfloat16; what autograd keeps of those is the same on a CPU."""
    wanted = {**WIDE, **stated}
    if family in ("gpt_neox", "opt", "gpt2"):
        del wanted["num_key_value_heads"]
    layers = "n_layer" if family == "gpt2" else "num_hidden_layers"
    # The first layer's rows have no gradient yet: the difference of two models is a layer's own.
    counted = [
        kept_floats_of_rows(family, {**wanted, layers: count}, tmp_path / str(count), device)
        for count in (2, 3)
    ]
    setting = Setting(batch_size=NUM_ROWS, num_row_tokens=NUM_TOKENS, num_virtual_tokens=NUM_PREFIX)
    said = [
        sum(
            kept_floats(
                numbers_of_config({"model_type": family, **wanted, layers: count}, "config.json"),
                dataclasses.replace(setting, method="prefix", device=device),
            )
        )
        for count in (2, 3)
    ]
    assert said[1] - said[0] == pytest.approx(counted[1] - counted[0], rel=0.05)


def kept_floats_of_rows(family: str, stated: dict[str, Any], folder: Path, device: str) -> int:
    """Floats that the rows' forward pass keeps, masks and positions left out."""
    import torch
    import transformers

    from ptune_tui.engine.forward import logits_behind
    from ptune_tui.engine.prefix import record_prefix
    from quant.loading import load

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **stated)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = load(folder, kernel="stream", compute_dtype=dtype).model
    prefix = record_prefix(model, torch.randn(NUM_PREFIX, 128).requires_grad_())
    weights = {
        tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]
    }
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in weights and tensor.shape[:1].numel() % NUM_ROWS == 0:
            kept[address] = tensor
        return tensor

    index = (torch.arange(NUM_ROWS), torch.full((NUM_ROWS,), NUM_TOKENS - 1))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits_behind(model, prefix, torch.randint(3, 60, (NUM_ROWS, NUM_TOKENS)), index)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) // dtype.itemsize


@pytest.mark.parametrize("kernel", ["stream", "int8"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_layer_of_the_fused_step_keeps_what_its_buffers_hold(
    kernel: Literal["stream", "int8"],
    checkpointing: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ptune_tui.engine.fused import buffers
    from quant.native.build import build

    if build().library is None:
        pytest.skip(build().reason)
    monkeypatch.setattr(buffers, "_GRAIN", 1)
    # The last layer keeps less: the difference of two models is a whole layer.
    counted = [
        fused_buffer_bytes(kernel, count, tmp_path / str(count), checkpointing=checkpointing)
        for count in (2, 3)
    ]
    setting = Setting(
        kernel=kernel,
        batch_size=2,
        num_row_tokens=64,
        num_virtual_tokens=8,
        has_compiled_passes=True,
        checkpointing=checkpointing,
    )
    said = [
        kept_floats(
            numbers_of_config(
                {"model_type": "llama", **WIDE, "num_hidden_layers": count}, "config.json"
            ),
            setting,
        )[0]
        for count in (2, 3)
    ]
    assert 4 * (said[1] - said[0]) == pytest.approx(counted[1] - counted[0], rel=0.05)


def fused_buffer_bytes(kernel: str, num_layers: int, folder: Path, *, checkpointing: bool) -> int:
    """Bytes that the fused step owns after a step of 2 rows of 64 tokens behind 8."""
    import torch
    import transformers

    from export.encoding import EncodedRow
    from ptune_tui.engine.batches import collate
    from ptune_tui.engine.fused.step import FusedStep
    from ptune_tui.engine.model import FrozenModel
    from ptune_tui.engine.prompt import VirtualTokens
    from quant.loading import load

    config = transformers.LlamaConfig(**WIDE, num_hidden_layers=num_layers)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    frozen = FrozenModel("tiny", load(folder, kernel="stream"), None, "stream")  # type: ignore[arg-type]
    step = FusedStep(frozen, kernel, {}, checkpointing=checkpointing)
    rows = [EncodedRow([5] * 63, [6, 7]), EncodedRow([8] * 63, [9, 2])]
    step(VirtualTokens(torch.zeros(8, 128, requires_grad=True)), [], [collate(rows, 0)])
    return step.buffers.num_bytes


@pytest.mark.parametrize("reparametrise", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_trained_numbers_are_those_of_the_method(method: MethodName, reparametrise: bool) -> None:
    import torch

    from ptune_tui.engine.methods.lowrank import LowRankPromptTuning
    from ptune_tui.engine.methods.p_tuning import PTuning
    from ptune_tui.engine.methods.prefix import PrefixTuning, ReparametrisedPrefixTuning
    from ptune_tui.engine.methods.prompt import PromptTuning
    from ptune_tui.engine.methods.residual import ResidualPromptTuning
    from ptune_tui.engine.prompt import LayerPrefix

    generator = torch.Generator().manual_seed(0)
    start_PH = torch.randn(5, NUMBERS.hidden_size)
    layers = LayerPrefix(torch.randn(30, 2, 3, 5, 64))
    made = {
        "prompt": lambda: PromptTuning(start_PH, 1.0),
        "residual": lambda: ResidualPromptTuning(start_PH, 1.0, 24, generator),
        "lowrank": lambda: LowRankPromptTuning(start_PH, 1.0, 16, generator),
        "p-tuning": lambda: PTuning(start_PH, 1.0, 24, generator),
        "prefix": lambda: (
            ReparametrisedPrefixTuning(layers, 24, generator)
            if reparametrise
            else PrefixTuning(layers)
        ),
    }[method]()
    setting = Setting(
        method=method, num_virtual_tokens=5, mlp_size=24, rank=16, reparametrise=reparametrise
    )
    counted = sum(parameter.numel() for parameter in made.parameters())
    assert num_trained(NUMBERS, setting) == counted


@pytest.mark.parametrize(
    ("estimated", "answer"), [(79, "fits"), (95, "tight"), (101, "does not fit")]
)
def test_fit_leaves_a_fifth_of_room(estimated: int, answer: str) -> None:
    assert fit(estimated, 100) == answer


def test_limits_fit_and_one_more_does_not() -> None:
    room = 8 << 30
    setting = Setting()
    found = limits(NUMBERS, setting, room)

    def verdict(**changes: Any) -> str:
        return fit(peak(**changes), room)

    for name, value in [
        ("batch_size", found.num_rows),
        ("num_row_tokens", found.num_row_tokens),
        ("num_virtual_tokens", found.num_virtual_tokens),
    ]:
        assert verdict(**{name: value}) == "fits"
        assert verdict(**{name: value + 1}) != "fits"
    assert limits(NUMBERS, setting, 1 << 20) == type(found)(0, 0, 0)


def test_first_that_fits_takes_a_smaller_kernel_then_fewer_rows() -> None:
    setting, kernels = Setting(), auto_kernels(None)
    stream = dataclasses.replace(setting, kernel="stream")
    assert kernels == ("cached", "stream")
    assert auto_kernels(HERE) == ("int8", "stream")
    assert first_that_fits(NUMBERS, setting, 64 << 30, kernels).kernel == "cached"
    room = int(1.3 * peak(kernel="stream"))
    assert first_that_fits(NUMBERS, setting, room, kernels) == stream
    fewer = first_that_fits(NUMBERS, setting, 2 << 30, kernels)
    assert 0 < fewer.num_rows < 32
    assert fit(estimate(NUMBERS, fewer).peak_bytes, 2 << 30) == "fits"
    assert first_that_fits(NUMBERS, setting, 1 << 20, kernels) == stream
    fixed = dataclasses.replace(setting, micro_batch_size=32)
    assert first_that_fits(NUMBERS, fixed, 2 << 30, kernels).micro_batch_size == 32


def test_throughput_says_where_its_figures_come_from() -> None:
    assert HERE.source == MEASURED
    assert HERE.float_gops == 2 * processor_throughput(["avx512_vnni"], 1).float_gops
    assert processor_throughput(None, 1).source == NOT_MEASURED
    card = card_throughput("NVIDIA GeForce RTX 4060 Ti")
    assert card is not None
    assert (card.name, card.source) == ("RTX 4060 Ti", NOT_MEASURED)
    assert card_throughput("Some Card") is None
    assert card_throughput(None) is None
