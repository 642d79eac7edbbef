"""What the machine has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ptune_tui import hardware
from ptune_tui.config import ModelConfig
from ptune_tui.doctor import checks
from ptune_tui.events import Notice, StageStarted
from ptune_tui.tui.progress import CHOICES
from ptune_tui.worker.channel import Channel


def test_machine_says_what_it_has() -> None:
    machine = hardware.machine()
    assert machine.num_usable_cores is None or machine.num_usable_cores >= 1
    assert machine.total_memory_bytes is not None
    assert machine.available_memory_bytes is not None
    assert 0 < machine.available_memory_bytes <= machine.total_memory_bytes


def test_missing_or_odd_graphics_tool_gives_no_accelerator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert hardware.machine().accelerator is None
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(hardware, "_output", lambda _: "Some Card, [N/A], [N/A]")
    assert hardware.machine().accelerator is None
    monkeypatch.setattr(hardware, "_output", lambda _: "Some Card, 1000, 900")
    card = hardware.machine().accelerator
    assert card == hardware.Accelerator("Some Card", 1000 << 20, 900 << 20)


def test_free_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert hardware.free_disk_bytes(tmp_path / "a" / "b") is not None


@pytest.mark.parametrize(("text", "asked"), [("3", 3), ("5,2", 5), ("0", None), ("many", None)])
def test_threads_that_the_environment_asks_for_are_taken(
    text: str, asked: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = hardware.default_num_threads()
    assert cores >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert hardware.environment_num_threads() == asked
    assert hardware.default_num_threads() == (asked or cores)
    detail = next(check.detail for check in checks() if check.name == "Threads")
    assert (f"OMP_NUM_THREADS={asked}" in detail) is (asked is not None)


def test_a_worker_takes_the_threads_of_the_environment_unless_the_run_names_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from ptune_tui.worker.task_model import ModelStage

    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    try:
        channel = Channel(tmp_path)
        first = next(iter(ModelStage(ModelConfig(), 0, channel).events()))
        assert isinstance(first, Notice)
        assert (first.code, torch.get_num_threads()) == ("num-threads", 3)
        assert first.code in CHOICES
        first = next(iter(ModelStage(ModelConfig(), 2, channel).events()))
        assert (type(first), torch.get_num_threads()) == (StageStarted, 2)
    finally:
        torch.set_num_threads(before)
