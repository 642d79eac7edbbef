"""What the machine has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ptune_tui import hardware


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
