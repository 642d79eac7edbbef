"""The story of a run is told once, and the command it names makes the same configuration."""

from __future__ import annotations

import hashlib
import shlex
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer.testing

from ptune_tui.cli import train as train_module
from ptune_tui.cli.main import app
from ptune_tui.command_line import read_template, train_command, written_template
from ptune_tui.config import DataConfig, RunConfig, load, override
from ptune_tui.events import (
    EvaluationDone,
    Notice,
    Resumed,
    RolledBack,
    StateSaved,
    StepDone,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    encode_line,
)
from ptune_tui.provenance import data_files, provenance
from ptune_tui.run_fold import RunFold
from ptune_tui.run_history import RunHistory, read_history
from ptune_tui.tui.run_state import RunState


def step(number: int, loss: float) -> StepDone:
    return StepDone(number, 9, loss, 0.1, 1.0, 1000.0, 1 << 30, 1.0, 9.0)


def validated(number: int, accuracy: float, *, is_best: bool = False) -> EvaluationDone:
    return EvaluationDone(number, 9, accuracy, None, None, 1.0, tuned=True, is_best=is_best)


def history(*events: Any) -> RunHistory:
    found = RunHistory()
    for event in events:
        found.add(event)
    return found


@pytest.mark.parametrize("back", [Resumed(2, "last"), RolledBack(4, 2, 0.05, "the loss rose")])
def test_steps_that_are_done_again_are_told_once(back: Resumed | RolledBack) -> None:
    found = history(
        *(step(number, 1.0) for number in (1, 2, 3, 4)),
        *(validated(2, 0.5), validated(4, 0.9, is_best=True), back, step(3, 0.7)),
        validated(4, 0.6, is_best=True),
    )
    assert [(done.step, done.loss) for done in found.steps] == [(1, 1.0), (2, 1.0), (3, 0.7)]
    assert [one.accuracy for one in found.tuned] == [0.5, 0.6]
    assert found.best == validated(4, 0.6, is_best=True)
    assert found.said == [back]


def test_a_resumed_run_has_not_ended_and_says_things_once() -> None:
    notice = Notice("device", "On the CPU.")
    failed = TaskFailed("interrupted", "Interrupted.", "", "worker.log")
    found = history(TaskStarted(1.0, 7, "train"), notice, failed, TaskStarted(5.0, 8, "train"))
    found.add(notice)
    assert found.ending is None
    assert found.started == [1.0, 5.0]
    assert found.said == [notice, failed]
    found.add(TaskFinished(9.0))
    assert found.ending == TaskFinished(9.0)


def test_the_base_is_that_of_as_many_rows() -> None:
    def base(rows: int) -> EvaluationDone:
        return EvaluationDone(0, rows, 0.4, None, None, 1.0, tuned=False)

    found = history(base(9), base(20), validated(4, 0.6, is_best=True))
    assert found.comparable_base() == base(9)
    assert history(base(20), validated(4, 0.6, is_best=True)).comparable_base() == base(20)
    assert history().comparable_base() is None


def test_unreadable_lines_are_counted(tmp_path: Path) -> None:
    lines = [encode_line(step(1, 1.0)), b'{"type":"OfALaterProtocol"}\n', b"\xff\n"]
    (tmp_path / "events.jsonl").write_bytes(b"".join(lines) + b'{"half')
    found = read_history(tmp_path)
    assert (len(found.steps), found.num_unreadable_lines) == (1, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "model.source": "my models/a 'quoted' one",
            "data.train": "rows.jsonl",
            "data.template": 'Review: {prompt}\n"$HOME" `x`:',
            "method.name": "prefix",
            "method.reparametrise": True,
            "method.init_text": "two\nlines",
            "training.learning_rate": 1e-4,
            "training.num_threads": 2,
        },
        {"data.template": "- {{ text | replace('\\n', ' ') }}\n", "method.init_text": "--x"},
    ],
)
def test_the_command_makes_the_same_configuration(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, made = override(RunConfig(), changes), []
    monkeypatch.setattr(train_module, "_train", lambda _, task, __: made.append(task))
    monkeypatch.setattr(train_module, "require_sources", lambda _: None)  # the names are made up
    words = shlex.split(train_command(config))
    arguments = [*words[1:], "--out", str(tmp_path / "run")]
    done = typer.testing.CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert made[0].config == config


def test_any_template_can_be_written_in_one_line() -> None:
    for length in range(1, 6):
        for parts in product("\\na\n", repeat=length):
            template = "".join(parts)
            assert read_template(written_template(template)) == template
    assert written_template("{prompt}\nTopic:") == r"{prompt}\nTopic:"


def test_files_are_hashed_as_they_are(tmp_path: Path) -> None:
    train, validation = tmp_path / "train.jsonl", tmp_path / "val.jsonl"
    train.write_bytes(b"some rows\r\n")
    validation.write_bytes(b"others")
    files = data_files(DataConfig(train=str(train), validation=str(validation)))
    assert [(file.role, file.sha256, file.num_bytes) for file in files] == [
        ("train", hashlib.sha256(b"some rows\r\n").hexdigest(), 11),
        ("validation", hashlib.sha256(b"others").hexdigest(), 6),
    ]
    builtin = data_files(DataConfig(train="support_inbox"))
    assert [Path(file.path).name for file in builtin] == ["train.jsonl", "validation.jsonl"]
    assert data_files(DataConfig(train="owner/of-the-hub")) == []
    noted = provenance(DataConfig(train=str(train)), "cd")
    assert {"ptune", "python", "torch"} <= set(noted.versions)


def test_a_configuration_written_by_a_run_is_read_by_the_command(tmp_path: Path) -> None:
    from ptune_tui.config import dump

    config = override(RunConfig(), {"data.template": "{prompt} \\n literally"})
    (tmp_path / "config.toml").write_text(dump(config), encoding="utf-8")
    assert load(tmp_path / "config.toml") == config


def lived_through(*events: Any) -> list[float | None]:
    """The accuracy of the prompt that is kept, as each of the three folds has it."""
    state, fold = RunState(), RunFold()
    for event in events:
        state.add(event)
        fold.add_line(encode_line(event))
    found = [history(*events).best, state.best, fold.best]
    return [best and best.accuracy for best in found]


def test_a_roll_back_keeps_the_best_prompt_and_a_resume_that_of_its_checkpoint() -> None:
    best = [step(3, 1.0), validated(2, 0.5, is_best=True), StateSaved(2, "s"), step(3, 0.9)]
    best += [validated(3, 0.9, is_best=True)]
    back = RolledBack(4, 2, 0.05, "the loss rose")
    assert lived_through(*best, back) == [0.9] * 3  # as the trainer does
    assert lived_through(*best, back, validated(3, 0.7)) == [0.9] * 3
    assert lived_through(*best, Resumed(2, "s")) == [0.5] * 3  # the adapter is put back
    # A state that is saved after the roll-back knows the best prompt, whose step is yet to come.
    assert lived_through(*best, back, StateSaved(2, "s"), Resumed(2, "s")) == [0.9] * 3
    assert history(*best, back).tuned == [validated(2, 0.5, is_best=True)]
