"""What is done otherwise where the model computes on a CUDA card, without having one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ptune_tui.config import ModelConfig
from ptune_tui.engine import card_products, memory
from ptune_tui.engine import planner as planning
from ptune_tui.engine import probe as probing
from ptune_tui.engine.card_products import dequantisation_notice, require_int8
from ptune_tui.engine.model import FrozenModel, choose_kernel, load_frozen
from ptune_tui.errors import UsageError
from tests.engine.test_families import LEAD, ROWS
from tests.engine.test_plan_memory import planner

CUDA = torch.device("cuda")


@pytest.fixture
def frozen(tiny_model: Path) -> FrozenModel:
    return load_frozen(tiny_model, "tiny", "int4", "stream")


@pytest.fixture
def _on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrozenModel, "device", property(lambda _: CUDA))


def test_memory_is_the_card_s(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        "max_memory_allocated": 7,
        "memory_allocated": 5,
        "memory_reserved": 6,
        "mem_get_info": (100, 200),
    }
    for name, figure in figures.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, figure=figure: figure)
    called = []
    for name in ("reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, lambda _, name=name: called.append(name))
    assert memory.peak_memory_bytes(CUDA) == 7
    assert memory.used_bytes(CUDA) == 5
    assert memory.free_bytes(CUDA) == 101
    memory.forget_peak(CUDA)
    memory.finish(CUDA)
    assert called == ["reset_peak_memory_stats", "synchronize"]


def test_on_a_processor_memory_is_this_process_s() -> None:
    cpu = torch.device("cpu")
    used, peak = memory.used_bytes(cpu), memory.peak_memory_bytes(cpu)
    assert 50 << 20 < used < peak + (8 << 20)  # the system counts pages with a delay
    assert memory.free_bytes(cpu) > 1 << 20
    memory.forget_peak(cpu)
    memory.finish(cpu)


@pytest.mark.usefixtures("_on_a_card")
@pytest.mark.parametrize(("free", "kernel"), [(1 << 40, "cached"), (1, "stream")])
def test_a_plan_for_a_card_takes_no_integers_by_itself(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, free: int, kernel: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(FrozenModel, "device", property(lambda _: torch.device("cpu")))
        planned = planner(load_frozen(tiny_model, "tiny", "int4", "stream"))
    planned.model = ModelConfig(kernel="auto")
    monkeypatch.setattr(planning, "free_bytes", lambda _: free)
    monkeypatch.setattr(planning, "int8_speedup", lambda _: 9.0)
    assert planned._kernel([]) == kernel


def test_integers_that_a_card_cannot_multiply_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_int8(torch.device("cpu"))
    monkeypatch.setattr(card_products, "failure_on", lambda _: None)
    require_int8(CUDA)
    monkeypatch.setattr(card_products, "failure_on", lambda _: "CUBLAS_STATUS_NOT_SUPPORTED")
    with pytest.raises(UsageError, match="CUBLAS_STATUS_NOT_SUPPORTED") as caught:
        require_int8(CUDA)
    assert "auto" in caught.value.hint


def test_the_probe_of_a_card_waits_for_it_and_reads_its_peak(
    frozen: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    making = planner(frozen)
    plan = making.make().plan
    called: list[str] = []
    for name, value in {
        "forget_peak": None,
        "used_bytes": 100,
        "finish": None,
        "peak_memory_bytes": 175,
    }.items():

        def note(_: torch.device, name: str = name, value: Any = value) -> Any:
            called.append(name)
            return value

        monkeypatch.setattr(probing, name, note)

    def step(*_: object) -> float:
        called.append("step")
        return 0.0

    _, taken = probing.probe(step, plan, making.method, LEAD, ROWS, CUDA)
    assert taken == 75
    steps = ["finish", "step", "finish"] * 2
    assert called == ["forget_peak", "used_bytes", *steps, "peak_memory_bytes"]


def test_how_codes_become_floats_is_said_on_a_card_only(
    frozen: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dequantisation_notice(frozen) is None
    monkeypatch.setattr(FrozenModel, "device", property(lambda _: CUDA))
    monkeypatch.setattr(card_products, "unfused_reason", lambda *_: None)
    notice = dequantisation_notice(frozen)
    assert notice is not None
    assert "Fused kernels" in notice.message
    monkeypatch.setattr(card_products, "unfused_reason", lambda *_: "no triton")
    notice = dequantisation_notice(frozen)
    assert notice is not None
    assert "15 of 15 layers" in notice.message
    assert "no triton" in notice.message
    assert "triton" in notice.hint


def test_a_card_s_layers_make_floats_as_they_go(tiny_model: Path) -> None:
    assert choose_kernel(tiny_model, "auto", CUDA)[0] == "stream"
    assert choose_kernel(tiny_model, "cached", CUDA)[0] == "cached"
