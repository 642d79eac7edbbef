"""What a plan makes of memory: fewer rows where it is short, no guess where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ptune_tui.config import MethodConfig, ModelConfig, TrainingConfig
from ptune_tui.engine import planner as planning
from ptune_tui.engine.methods.factory import make_method
from ptune_tui.engine.model import FrozenModel, load_frozen, load_tokenizer
from ptune_tui.engine.planner import Planner
from ptune_tui.engine.prompt import VirtualTokens
from quant.loading import load
from tests.engine.test_families import LEAD, ROWS, save_random


def planner(frozen: FrozenModel, **settings: object) -> Planner:
    start = VirtualTokens(frozen.embed(torch.tensor([3, 4, 5])))
    method = make_method("prompt", frozen, start, mlp_size=8, rank=4, reparametrise=False, seed=0)
    training = TrainingConfig(batch_size=3, **settings)  # type: ignore[arg-type]
    return Planner(
        frozen, method, ROWS, LEAD, MethodConfig(), ModelConfig(kernel="stream"), training
    )


def test_a_model_without_attention_is_planned_without_an_estimate(
    tiny_model: Path, tmp_path: Path
) -> None:
    text = replace(load_tokenizer(tiny_model), end_token_id=2)
    frozen = FrozenModel("mamba", load(save_random("mamba", tmp_path)), text, "stream")
    planned = planner(frozen).make()
    assert planned.plan.micro_batch_size == 3
    assert any("its memory is unknown" in reason for reason in planned.event.reasons)


def test_rows_are_split_where_memory_is_short(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = load_frozen(tiny_model, "tiny", "int4", "stream")
    whole = planner(frozen, checkpointing="off")
    assert whole.make().plan.micro_batch_size == 3
    needed = whole._needed("stream", 2, checkpointing=False)
    assert needed is not None
    free = int(needed / planning._MEMORY_SHARE) + 1
    monkeypatch.setattr(planning, "free_bytes", lambda _: free)
    planned = planner(frozen, checkpointing="off").make()
    assert planned.plan.micro_batch_size == 2
    assert any("2 of 3 rows at a time" in reason for reason in planned.event.reasons)
