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

CONFIG = """
[model]
source = "{model}"
[data]
train = "{rows}"
[method]
num_virtual_tokens = 4
[training]
max_steps = 6
batch_size = 8
evaluate_every = 3
"""


@pytest.fixture
def terminal(tmp_path: Path, tiny_model: Path, label_rows: Path) -> Iterator[PseudoTerminal]:
    """`ptune train` with its display in the app, on the tiny model."""
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.format(model=tiny_model, rows=label_rows))
    command = [sys.executable, "-m", "ptune_tui", "train", str(config), "--display", "full"]
    home = {"PTUNE_HOME": str(tmp_path / "ptune-home"), "OMP_NUM_THREADS": "1"}
    opened = PseudoTerminal(command, home)
    yield opened
    opened.close()


def test_from_the_start_to_a_bundle_that_answers(terminal: PseudoTerminal) -> None:
    terminal.wait_for("[3 Train]")
    terminal.wait_for("6/6", 120)
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
