"""`ptune learning-curve` and `ptune inspect` through the real command line."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.main import get_command

from ptune_tui.cli.curve_chart import curve_chart, curve_table
from ptune_tui.cli.inspect_prompt import Kind, check
from ptune_tui.cli.inspect_prompt import command_of as inspect_command
from ptune_tui.cli.inspection_table import inspection_lines
from ptune_tui.cli.learning_curve import command_of as curve_command
from ptune_tui.cli.main import app
from ptune_tui.config import DataConfig, MethodConfig, RunConfig, TrainingConfig
from ptune_tui.errors import UsageError
from ptune_tui.inspection import Inspection, read_inspection
from ptune_tui.jobs import attach
from ptune_tui.results import LearningCurve, LearningFit, LearningPoint, read_learning_curve
from ptune_tui.tasks import InspectTask
from tests.cli.conftest import Ptune
from tests.cli.test_bad_input import one_sentence


@pytest.fixture
def options(tiny_model: Path, label_rows: Path) -> list[object]:
    chosen = ["--max-steps", 3, "--batch-size", 6, "--num-virtual-tokens", 4, "--threads", 1]
    return ["--model", tiny_model, "--data", label_rows, "--validation", label_rows, *chosen]


def parsed(command: str) -> dict[str, Any]:
    """What the real command line makes of a stored command."""
    program, name, *words = shlex.split(command)
    assert program == "ptune"
    group: Any = get_command(app)
    found: dict[str, Any] = group.commands[name].make_context(name, words).params
    return found


def test_a_curve_of_a_runs_settings_names_options_that_it_has() -> None:
    training = TrainingConfig(evaluate_every=5, early_stopping=7, save_every=9, max_steps=3)
    config = RunConfig(
        training=training,
        method=MethodConfig(name="prefix", num_virtual_tokens=4),
        data=DataConfig(train="rows.jsonl", template="Q: {prompt}\nA:"),
    )
    found = parsed(curve_command(config, [6, 12], 2))
    assert (found["max_steps"], found["sizes"], found["seeds"]) == (3, "6,12", 2)
    assert (found["method"], found["data"]) == ("prefix", "rows.jsonl")


def test_the_command_of_an_inspection_has_every_option() -> None:
    task = InspectTask(
        "adapter of mine", "", "base", "rows.jsonl", "Q: {prompt}\nA:", "q", "a", 7, 3, True, "mine"
    )
    found = parsed(inspect_command(task))
    assert found == {
        "target": "adapter of mine",
        "data": "rows.jsonl",
        "rows": 7,
        "top": 3,
        "model": "base",
        "template": "Q: {prompt}\\nA:",
        "prompt_field": "q",
        "response_field": "a",
        "as_json": False,
        "force": True,
        "prompt": "mine",
    }


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("model", "run"),
        ("template", "adapter"),
        ("prompt_field", "run"),
        ("response_field", "bundle"),
        ("prompt", "adapter"),
        ("template", "bundle"),
        ("model", "bundle"),
    ],
)
def test_an_inspection_refuses_options_that_nothing_reads(option: str, kind: Kind) -> None:
    task = msgspec.structs.replace(InspectTask("run", ""), **{option: "x"})
    with pytest.raises(UsageError, match=f"`--{option.replace('_', '-')}` was given"):
        check(task, kind)
    check(InspectTask("adapter", "", "base", "rows.jsonl", "{prompt}", "q", "a"), "adapter")


def test_a_curve_is_drawn_and_written(ptune: Ptune, options: list[object], tmp_path: Path) -> None:
    out = tmp_path / "curve"
    done = ptune("learning-curve", *options, "--sizes", "6,12,24,all", "--out", out)
    assert done.code == 0, done.err
    curve = read_learning_curve(out)
    assert curve is not None
    assert [point.num_rows for point in curve.points] == [6, 12, 24, 48]
    assert " ".join(done.out.split()).endswith(curve.verdict)
    assert "score +---" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert "--max-steps 3" in curve.command
    assert "--sizes 6,12,24,48" in curve.command
    assert parsed(curve.command)["max_steps"] == 3
    taken = ptune("learning-curve", *options, "--out", out)
    assert "holds a curve" in one_sentence(taken, 2)
    again = ptune("learning-curve", "--resume", out, "--json")
    assert again.code == 0, again.err
    assert (
        json.loads(again.out)["points"]
        == json.loads((out / "learning_curve.json").read_text())["points"]
    )
    mixed = ptune("learning-curve", "--resume", out, "--seed", 0)
    assert "takes all settings" in one_sentence(mixed, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_an_interrupt_keeps_the_sizes_that_are_done(options: list[object], tmp_path: Path) -> None:
    out = tmp_path / "curve"
    longer = [*options, "--max-steps", 100_000, "--sizes", "6,12", "--out", out]
    process = subprocess.Popen(
        [sys.executable, "-m", "ptune_tui", "learning-curve", *map(str, longer)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PTUNE_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        events = out / "events.jsonl"
        deadline = time.monotonic() + 120
        while not (events.is_file() and b"StepDone" in events.read_bytes()):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=120)
    finally:
        process.kill()
        attach(out).kill()
    assert process.returncode == 130
    assert f"--resume {out}" in talk


def test_a_run_is_looked_at(ptune: Ptune, options: list[object], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert ptune("train", *options, "--out", run).code == 0
    done = ptune("inspect", run / "adapter", "--rows", 9)
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    found = read_inspection(run)
    assert found is not None
    assert found.num_rows == 9
    assert [part.kept for part in found.without] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert [part.kept for part in found.first] == [[0], [0, 1]]
    assert all(len(token.nearest) == 5 for token in found.tokens)
    assert "no run" in one_sentence(ptune("inspect", "nothing"), 2)


def test_the_chart_has_points_law_and_interval() -> None:
    points = [LearningPoint(16 * 2**n, 0, 0.5 + 0.1 * n, 60.0, 50) for n in range(4)]
    fit = LearningFit(0.9, 1.6, 0.5, 256, 0.8, 0.75, 0.85)
    curve = LearningCurve("accuracy", 100, points, fit, "So.", "ptune", 0.25, [16, 32, 64, 128])
    lines = curve_chart(curve)
    assert max(map(len, lines)) <= 80
    body = [line[10:] for line in lines[:-2]]
    assert sum(line.count("*") for line in body) == 4
    assert body[-1].startswith("*")  # the fewest rows have the lowest score, at the left
    assert sum(line.count("o") for line in body) == 1
    assert all(line.rstrip()[-1] in "|o*." for line in body if "|" in line)
    assert lines[-1].split() == ["rows", "16", "256"]
    table = curve_table(curve)
    assert table[1].split() == ["base", "0.250"]
    assert table[2].split() == ["16", "50", "0.500", "60", "s"]
    without = LearningCurve("accuracy", 100, points[:1], None, "So.", "ptune")
    assert sum(line.count("*") for line in curve_chart(without)) == 1


def test_free_text_and_groups_fit_the_table() -> None:
    from ptune_tui.inspection import LayerFindings, PartScore, TokenFindings

    token = TokenFindings(None, [], 1.5, 0.5, 0.01, 0.02)
    groups = [PartScore([n for n in range(40) if n // 2 != g], 1.0 + g, None) for g in range(20)]
    found = Inspection(
        *("run", "model", True, None, "rows.jsonl", 9, [token] * 40),
        *([LayerFindings(0.4, 0.8, 1.5, 0.5)] * 3, PartScore(list(range(40)), 0.5, None)),
        *(PartScore([], 3.0, None), groups, [PartScore([0], 2.0, None)], "ptune inspect run"),
    )
    lines = list(inspection_lines(found))
    assert max(map(len, lines)) <= 80
    assert any("all but tokens 38 to 39" in line and "20.000" in line for line in lines)
    assert "Most is lost without tokens 38 to 39" in "\n".join(lines)
    assert not any("accuracy" in line for line in lines)
