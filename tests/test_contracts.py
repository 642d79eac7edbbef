"""The contracts between the rooms: configuration, events, errors."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import get_args

import msgspec
import pytest
import torch

from ptune_tui import config, errors, events
from ptune_tui.config import RunConfig
from ptune_tui.errors import UsageError, explain

STEP = events.StepDone(
    step=1,
    max_steps=10,
    loss=0.5,
    learning_rate=0.1,
    gradient_norm=1.0,
    tokens_per_second=1000.0,
    peak_memory_bytes=1 << 30,
    elapsed_seconds=1.0,
    eta_seconds=9.0,
)
ONE_OF_EACH: list[events.Event] = [
    events.TaskStarted(time=1.5, pid=7, kind="train"),
    events.StageStarted("load", 2.0, "a model"),
    events.StageProgress("load", 1, 2),
    events.StageFinished("load", 3.0),
    events.ModelReady("m", "llama", 2, 8, 16, 100, 50, 0.1, "int4", "stream", "ab", 2),
    events.DataReady(8, 2, 0, 30, 20.5, ["yes", "no"], "{prompt}\n", 3),
    events.ProvenanceNoted(
        [events.DataFile("train", "rows.jsonl", "ab", 3)],
        *("cd", {"torch": "2"}, "Linux", None, 2, None, None),
    ),
    STEP,
    events.EvaluationDone(1, 2, 0.5, None, None, 0.1, tuned=True, is_best=True),
    events.SampleMade(1, "a \u2028 line", "yes", "no"),
    events.Paused(3),
    events.Continued(3, 12.5),
    events.CheckpointSaved(1, "prompt.safetensors", 0.5, True),
    events.TextAnswered(1, "base", "torch, cpu", "yes", 0.2, {"yes": 0.9, "no": 0.1}, "", True),
    events.Notice("kernel", "Picked `stream`.", "hint"),
    events.StateSaved(3, "checkpoints/last"),
    events.Resumed(3, "checkpoints/last"),
    events.PlanMade("cached", "cpu", "float32", 8, False, 8, ["as asked"]),
    events.Diverged(3, "loss"),
    events.RolledBack(3, 0, 0.1, "the loss is not finite"),
    events.RateTried(0.1, 2.5),
    events.RateProposed(0.3, "the loss falls fastest there"),
    events.CurvePointMeasured(32, 0, 0.75, 12.5, 2, 9),
    events.ParityMeasured("exact", 1e-6, 1e-9, 1.0, 3, 3, True),
    events.ExportDone("bundle", 1000),
    events.PreviewMade([events.PreviewRow(["a", "b"], [False, True], False)]),
    events.TaskFinished(1.0, summary={"accuracy": 0.9, "labels": None}),
    events.TaskFailed("data", "Row 3 is empty.", "Mend it.", "worker.log"),
]


def test_configuration_survives_its_file(tmp_path: Path) -> None:
    changes = {
        "training.seed": 7,
        "data.template": 'line\n"quoted" {prompt} \\ ü',
        "method.init_text": None,
        "training.learning_rate": 1e-4,
    }
    changed = config.override(RunConfig(), changes)
    path = tmp_path / "config.toml"
    path.write_text(config.dump(changed), encoding="utf-8")
    assert config.load(path) == changed
    assert changed.training.seed == 7


def test_empty_configuration_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    assert config.load(tmp_path / "config.toml") == RunConfig()


@pytest.mark.parametrize(
    ("text", "named", "hint"),
    [
        ("[training]\nmax_step = 3", "max_step", "`max_steps`"),
        ("[trainin]\nmax_steps = 3", "trainin", "`training`"),
        ("[training]\nmax_steps = 0", "training.max_steps", "--help"),
        ("[training]\nlearning_rate = 'fast'", "training.learning_rate", "--help"),
        ("[method]\nname = 'magic'", "method.name", "--help"),
        ("[model", "config.toml", "line"),
    ],
)
def test_wrong_configuration_names_the_key_and_helps(
    tmp_path: Path, text: str, named: str, hint: str
) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        config.load(tmp_path / "config.toml")
    assert named in caught.value.message
    assert hint in caught.value.hint


def test_missing_configuration_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml"):
        config.load(tmp_path / "none.toml")


def test_impossible_option_is_refused() -> None:
    with pytest.raises(UsageError, match="batch_size"):
        config.override(RunConfig(), {"training.batch_size": 0})


def test_every_field_has_a_description() -> None:
    schema = msgspec.json.schema(RunConfig)["$defs"]
    for part in ("ModelConfig", "DataConfig", "MethodConfig", "TrainingConfig"):
        for name, field in schema[part]["properties"].items():
            assert field.get("description"), name
    assert "training.seed" in config.field_names()


def test_examples_hold_one_of_each_event() -> None:
    assert {type(event) for event in ONE_OF_EACH} == set(get_args(events.Event))


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_event_survives_its_line(event: events.Event) -> None:
    line = events.encode_line(event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert events.decode_event(line) == event


@pytest.mark.parametrize(
    "command", [events.Stop(save=False), events.EvaluateNow(), events.Pause(), events.Continue()]
)
def test_command_survives_its_line(command: events.Command) -> None:
    assert events.decode_command(events.encode_line(command)) == command


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_needs_an_event_of_its_own(loss: float) -> None:
    line = events.encode_line(msgspec.structs.replace(STEP, loss=loss))
    with pytest.raises(msgspec.ValidationError, match="loss"):
        events.decode_event(line)


def test_half_written_line_is_left_for_the_next_call(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    follower = events.LineFollower(path)
    assert list(follower.new_lines()) == []
    line = events.encode_line(STEP)
    path.write_bytes(line + line[:10])
    assert list(follower.new_lines()) == [line[:-1]]
    assert list(follower.new_lines()) == []
    path.write_bytes(line + line)
    assert list(follower.new_lines()) == [line[:-1]]


@pytest.mark.parametrize(
    ("error", "category", "said"),
    [
        (OSError(errno.ENOSPC, "No space", "model.data"), "resources", "model.data"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "resources", "/x"),
        (MemoryError(), "resources", "memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried ..."), "resources", "memory"),
        (KeyboardInterrupt(), "interrupted", "Interrupted"),
        (ModuleNotFoundError("No module", name="torch"), "usage", "torch"),
        (errors.DataError("Row 3 is empty.", "Mend it."), "data", "Row 3"),
        (errors.ModelError("No such model."), "model", "No such"),
        (ZeroDivisionError("division by zero"), "fault", "ZeroDivisionError"),
    ],
)
def test_every_error_is_explained(error: BaseException, category: str, said: str) -> None:
    explanation = explain(error)
    assert explanation.category == category
    assert said in str(explanation)
    assert explanation.exit_code == errors.EXIT_CODES[explanation.category]


def test_error_of_another_package_keeps_its_own_words() -> None:
    class ForeignError(Exception):
        category = "bundle"
        message = "A file has another hash."
        hint = "Export again."

    assert explain(ForeignError()) == errors.Explanation(
        "bundle", "A file has another hash.", "Export again."
    )
