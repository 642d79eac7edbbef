"""Resuming, the range test and presets, through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptune_tui.config import load
from ptune_tui.events import StepDone, TaskFinished, TaskStarted
from ptune_tui.jobs import attach, follow
from ptune_tui.runs import summarise
from ptune_tui.tui.run_state import RunState
from tests.cli.conftest import Outcome, Ptune
from tests.cli.test_bad_input import one_sentence


def steps_of(outcome: Outcome) -> list[tuple[int, float, float, float]]:
    events = [json.loads(line) for line in outcome.out.splitlines()]
    return [
        (event["step"], event["loss"], event["learning_rate"], event["gradient_norm"])
        for event in events
        if event["type"] == "StepDone"
    ]


@pytest.fixture
def options(tiny_model: Path, label_rows: Path) -> list[object]:
    chosen = ["--max-steps", 6, "--batch-size", 6, "--evaluate-every", 6, "--save-every", 2]
    return ["--model", tiny_model, "--data", label_rows, *chosen, "--threads", 1]


def test_another_process_computes_the_same_bits(
    ptune: Ptune, options: list[object], tmp_path: Path
) -> None:
    runs = [
        ptune("train", *options, "--out", tmp_path / name, "--display", "json")
        for name in ("one", "other")
    ]
    assert all(run.code == 0 for run in runs), runs[0].err
    assert len(steps_of(runs[0])) == 6
    assert steps_of(runs[0]) == steps_of(runs[1])


def test_a_run_without_its_ending_is_resumed_into_the_same_event_file(
    ptune: Ptune, options: list[object], tmp_path: Path
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    expected = steps_of(ptune("train", *options, "--out", whole, "--display", "json"))
    assert ptune("train", *options, "--out", run).code == 0
    _forget_the_end(run, saved_step=4)
    done = ptune("train", "--resume", run, "--display", "json")
    assert done.code == 0, done.err
    assert steps_of(done) == expected[4:]
    events = list(follow(attach(run)))
    assert sum(isinstance(event, TaskStarted) for event in events) == 2
    assert isinstance(events[-1], TaskFinished)
    assert summarise(run).status == "finished"
    state = RunState()
    for event in events:
        state.add(event)
    assert [step for step, _ in state.losses] == [1, 2, 3, 4, 5, 6]
    assert len([event for event in events if isinstance(event, StepDone)]) == 8
    assert "is finished" in one_sentence(ptune("train", "--resume", run), 2)


def _forget_the_end(run: Path, saved_step: int) -> None:
    """Make a finished run one whose worker was killed after its last step."""
    lines = (run / "events.jsonl").read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if b'"StepDone"' in line)
    (run / "events.jsonl").write_bytes(b"".join(lines[: last + 1]))
    checkpoints = run / "checkpoints"
    (checkpoints / "last" / "state.safetensors").write_bytes(b"")
    card = json.loads((checkpoints / "previous" / "state.json").read_text())["card"]
    assert card["progress"]["step"] == saved_step


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--seed", 5], "seed = 5"),
        (["--method", "prefix"], "name = prefix"),
        (["--max-steps", 9], "max_steps = 9"),
        (["--out", "elsewhere"], "`--resume` takes"),
    ],
)
def test_options_that_contradict_a_checkpoint_are_refused(
    ptune: Ptune, options: list[object], tmp_path: Path, more: list[object], words: str
) -> None:
    run = tmp_path / "run"
    ptune("train", *options, "--out", run)
    _forget_the_end(run, saved_step=4)
    assert words in one_sentence(ptune("train", "--resume", run, *more), 2)


def test_a_run_without_a_checkpoint_is_not_resumed(ptune: Ptune, tmp_path: Path) -> None:
    run, damaged = tmp_path / "run", tmp_path / "damaged.gguf"
    damaged.write_bytes(b"no such file")
    ptune("train", "--model", damaged, "--out", run)
    assert "no checkpoint" in one_sentence(ptune("train", "--resume", run), 2)
    assert "no run" in one_sentence(ptune("train", "--resume", "nothing"), 2)


def test_the_range_test_prints_a_rate_and_draws_it(ptune: Ptune, options: list[object]) -> None:
    done = ptune("train", *options, "--find-lr")
    assert done.code == 0, done.err
    assert float(done.out) > 0
    assert "loss +---" in done.err
    assert done.err.count("*") >= 10
    as_json = json.loads(ptune("train", *options, "--find-lr", "--json").out)
    assert as_json["learning_rate"] == pytest.approx(float(done.out), rel=0.01)
    rates = [tried["learning_rate"] for tried in as_json["tried"]]
    assert rates == sorted(rates)
    assert len(rates) >= 10
    assert not json.loads(ptune("runs", "--json").out)


def test_a_preset_becomes_plain_values_and_options_win(
    ptune: Ptune, options: list[object], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = ptune("train", *options, "--preset", "quick", "--num-virtual-tokens", 3, "--out", run)
    assert done.code == 0, done.err
    assert "preset quick" in done.err
    config = load(run / "config.toml")
    assert config.method.num_virtual_tokens == 3
    assert config.training.max_steps == 6
    assert config.method.name == "prefix"


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--data", "nowhere.jsonl"], 3, "There is no data file nowhere.jsonl."),
        (["--validation", "nowhere.jsonl"], 3, "There is no data file nowhere.jsonl."),
        (["--model", "nowhere"], 4, "There is no model `nowhere`."),
        (["--max-steps", 0], 2, "`--max-steps 0` is impossible: expected `int` >= 1."),
        (["--learning-rate", -1], 2, "`--learning-rate -1.0` is impossible"),
    ],
)
def test_what_is_not_there_or_impossible_is_refused_before_there_is_a_run(
    ptune: Ptune, options: list[object], more: list[object], code: int, words: str
) -> None:
    assert words in one_sentence(ptune("train", *options, *more), code)
    assert json.loads(ptune("runs", "--json").out) == []


def test_a_choice_that_there_is_not(ptune: Ptune) -> None:
    done = ptune("train", "--preset", "bst")
    assert done.code == 2
    assert "Invalid value for '--preset': 'bst' is not one of" in done.err
