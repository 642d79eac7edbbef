from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from ptune_tui.config import ModelConfig
from ptune_tui.engine.placement import choose_placement
from ptune_tui.errors import UsageError
from ptune_tui.events import Notice
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.task_model import ModelStage
from tests.engine.test_families import save_random


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)


@pytest.mark.usefixtures("no_card")
def test_a_processor_computes_in_float32_unless_told_otherwise() -> None:
    placement = choose_placement("auto", "auto", "int4", "auto")
    assert (placement.device.type, placement.compute_dtype) == ("cpu", torch.float32)
    assert "float32" in placement.sentence
    asked = choose_placement("cpu", "bfloat16", "int4", "auto")
    assert asked.compute_dtype == torch.bfloat16


@pytest.mark.usefixtures("card")
def test_a_card_is_taken_where_there_is_one_and_computes_in_16_bits() -> None:
    placement = choose_placement("auto", "auto", "nf4", "auto")
    assert (placement.device.type, placement.compute_dtype) == ("cuda", torch.bfloat16)
    assert choose_placement("cpu", "auto", "nf4", "auto").device.type == "cpu"


@pytest.mark.usefixtures("card")
def test_a_card_without_bfloat16_falls_back_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    placement = choose_placement("auto", "auto", "int4", "auto")
    assert placement.compute_dtype == torch.float16
    assert "bfloat16" in placement.sentence
    assert placement.warning


@pytest.mark.usefixtures("no_card")
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match=device) as caught:
        choose_placement(device, "auto", "int4", "auto")  # type: ignore[arg-type]
    assert "auto" in caught.value.hint


def test_apple_runs_untested_and_without_the_kernels_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    placement = choose_placement("mps", "auto", "int4", "cached")
    assert placement.device.type == "mps"
    assert "tested" in placement.warning
    with pytest.raises(UsageError, match="nf4"):
        choose_placement("mps", "auto", "nf4", "auto")
    with pytest.raises(UsageError, match="int8"):
        choose_placement("mps", "auto", "int4", "int8")


def stage_events(tmp_path: Path, config: ModelConfig) -> tuple[ModelStage, dict[str, Notice]]:
    stage = ModelStage(config, 1, Channel(tmp_path))
    events = list(stage.events())
    return stage, {event.code: event for event in events if isinstance(event, Notice)}


def test_the_precision_reaches_the_model_and_is_said(tiny_model: Path, tmp_path: Path) -> None:
    config = ModelConfig(source=str(tiny_model), device="cpu", compute_type="bfloat16")
    stage, notices = stage_events(tmp_path, config)
    assert stage.frozen is not None
    assert stage.frozen.compute_dtype == torch.bfloat16
    assert stage.frozen.device.type == "cpu"
    assert "bfloat16" in notices["device"].message
    assert not {"attention", "prefix"} & set(notices)


@pytest.mark.parametrize(("family", "code"), [("gemma2", "attention"), ("falcon_h1", "prefix")])
def test_a_model_that_needs_another_way_says_so(
    tiny_model: Path, tmp_path: Path, family: str, code: str
) -> None:
    folder = save_random(family, tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model / name, folder / name)
    _, notices = stage_events(tmp_path, ModelConfig(source=str(folder), device="cpu"))
    assert family in notices[code].message
