"""The real app in a pseudo-terminal, from its start to an exported bundle that answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from pseudo_terminal import PseudoTerminal

from export.runtime import Bundle
from ptune_tui.runs import find_run, run_config, summarise


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[PseudoTerminal]:
    """`ptune` with nothing behind it, as a new user opens it."""
    home = {
        "PTUNE_HOME": str(tmp_path / "ptune-home"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    opened = PseudoTerminal([sys.executable, "-m", "ptune_tui"], home)
    yield opened
    opened.close()


def set_up(terminal: PseudoTerminal, model: Path, rows: Path) -> None:
    """Choose model and data; all else stays as it is."""
    terminal.wait_for("Start training")
    for key, path in (("m", model), ("d", rows)):
        terminal.press(key)
        terminal.wait_for("/ Write")
        terminal.press("/")
        terminal.wait_for("tab Complete")
        terminal.press(str(path)[:-2], "tab")
        terminal.wait_for(lambda name=path.name: name in terminal.text)
        terminal.press("enter")
        terminal.wait_for("Start training")


def test_from_the_start_to_a_bundle_that_answers(
    terminal: PseudoTerminal, tiny_model: Path, label_rows: Path
) -> None:
    set_up(terminal, tiny_model, label_rows)
    terminal.press("f5")
    terminal.wait_for("[3 Train]")
    terminal.wait_for("300/300", 400)
    terminal.wait_for("Enter exports it", 60)
    run = find_run("last")
    assert summarise(run).status == "finished"
    assert run_config(run) is not None
    terminal.press("enter")
    terminal.wait_for("$ ptune export")
    terminal.wait_for("needs about")
    terminal.press("enter")
    terminal.wait_for("Chat with it", 120)
    bundle = run / "bundle"
    assert Bundle.open(bundle).tuned().classify("where is my parcel?").label
    terminal.press("enter")
    terminal.wait_for("virtual tokens", 60)
    terminal.press("where is my parcel?", "enter")
    terminal.wait_for("tuned ·", 60)
    terminal.press("escape")
    terminal.wait_for("Enter talks to the bundle")
    terminal.press("q")
    assert terminal.wait_for_end() == 0
    assert terminal.is_sane
    assert f"bundle  {bundle}" in terminal.text.replace("\n", "")
    assert "ptune chat" in terminal.text
