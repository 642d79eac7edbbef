"""A run that was stopped or killed at any step and resumed computes what an unbroken one does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ptune_tui.config import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainingConfig
from ptune_tui.engine.adapter import load_adapter
from ptune_tui.engine.checkpoints import CARD_FILE, TENSORS_FILE
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.errors import DataError, ModelError, ResourceError, UsageError
from ptune_tui.events import (
    Command,
    EvaluationDone,
    Event,
    Notice,
    Resumed,
    StateSaved,
    StepDone,
    Stop,
    TaskFinished,
)
from ptune_tui.tasks import LAST, PREVIOUS, TrainTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.train import train

METHODS = {
    "prompt": MethodConfig(num_virtual_tokens=5),
    "residual": MethodConfig(name="residual", num_virtual_tokens=4, mlp_size=8),
    "prefix": MethodConfig(name="prefix", num_virtual_tokens=3),
}
STEPS = 11

Seen = list[tuple[int, float, float, float]]


class Killed(Exception):
    """Stands for a worker that is gone from one event to the next."""


@pytest.fixture
def configure(tiny_model: Path, label_rows: Path) -> Callable[..., RunConfig]:
    def make(method: str = "prompt", **training: object) -> RunConfig:
        settings = {"max_steps": STEPS, "batch_size": 6, "evaluate_every": 4, "save_every": 3}
        settings |= {"num_threads": 1, "seed": 3, "max_validation_rows": 4, "learning_rate": 1.0}
        return RunConfig(
            model=ModelConfig(source=str(tiny_model)),
            data=DataConfig(train=str(label_rows)),
            method=METHODS[method],
            training=TrainingConfig(**settings | training),  # type: ignore[arg-type]
        )

    return make


def events_of(
    config: RunConfig, run: Path, *, resume: bool = False, stop_at: int = 0
) -> Iterator[Event]:
    """The events of a run, which is told to stop and save after a step."""
    run.mkdir(exist_ok=True)
    channel = Channel(run)
    step = 0

    def commands() -> list[Command]:
        return [Stop(save=True)] if step == stop_at else []

    channel.commands = commands  # type: ignore[method-assign]
    for event in train(TrainTask(config, resume), run, channel):
        step = event.step if isinstance(event, StepDone) else step
        yield event


def seen(events: list[Event]) -> Seen:
    return [
        (event.step, event.loss, event.learning_rate, event.gradient_norm)
        for event in events
        if isinstance(event, StepDone)
    ]


def until_killed(events: Iterator[Event], step: int) -> list[Event]:
    found: list[Event] = []
    for event in events:
        found.append(event)
        if isinstance(event, StepDone) and event.step == step:
            return found
    raise AssertionError("the run ended before it was killed")


@pytest.mark.parametrize(
    ("method", "training"),
    [
        ("prompt", {}),
        ("prompt", {"micro_batch_size": 2}),
        ("residual", {}),
        ("prefix", {}),
    ],
)
@pytest.mark.parametrize("stop_at", [1, 5, 8])
def test_a_run_stopped_at_a_step_goes_on_bit_for_bit(
    configure: Callable[..., RunConfig],
    tmp_path: Path,
    method: str,
    training: dict[str, object],
    stop_at: int,
) -> None:
    config = configure(method, **training)
    whole = list(events_of(config, tmp_path / "whole"))
    first = list(events_of(config, tmp_path / "parts", stop_at=stop_at))
    second = list(events_of(config, tmp_path / "parts", resume=True))
    assert len(seen(first)) == stop_at
    assert seen(first) + seen(second) == seen(whole)
    assert len(seen(whole)) == STEPS
    assert [event.step for event in second if isinstance(event, Resumed)] == [stop_at]
    assert not any(isinstance(event, EvaluationDone) and event.step == 0 for event in second[:-4])


@pytest.mark.parametrize("killed_at", [2, 7, 10])
def test_a_killed_run_goes_on_from_its_last_save_and_repeats_bit_for_bit(
    configure: Callable[..., RunConfig], tmp_path: Path, killed_at: int
) -> None:
    config = configure()
    whole = list(events_of(config, tmp_path / "whole"))
    first = until_killed(events_of(config, tmp_path / "parts"), killed_at)
    saved = [event.step for event in first if isinstance(event, StateSaved)][-1]
    assert saved < killed_at
    second = list(events_of(config, tmp_path / "parts", resume=True))
    assert seen(second) == seen(whole)[saved:]
    assert seen(first) == seen(whole)[:killed_at]
    prompts = [load_adapter(tmp_path / run / "adapter") for run in ("whole", "parts")]
    (one, one_card), (other, other_card) = prompts
    assert isinstance(one, VirtualTokens)
    assert isinstance(other, VirtualTokens)
    assert one.embeddings_PH.equal(other.embeddings_PH)
    assert one_card == other_card


def test_a_run_stopped_twice_ends_like_an_unbroken_one(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = configure()
    whole = list(events_of(config, tmp_path / "whole"))
    found: Seen = []
    for number, stop_at in enumerate((4, 5, 0)):
        run = tmp_path / "parts"
        found += seen(list(events_of(config, run, resume=number > 0, stop_at=stop_at)))
    assert found == seen(whole)


def test_a_finished_run_s_summary_counts_all_workers(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = configure()
    first = list(events_of(config, tmp_path / "run", stop_at=6))[-1]
    last = list(events_of(config, tmp_path / "run", resume=True))[-1]
    assert isinstance(first, TaskFinished)
    assert isinstance(last, TaskFinished)
    assert first.stopped_early
    assert not last.stopped_early
    assert last.summary["base_accuracy"] == first.summary["base_accuracy"]
    assert last.summary["accuracy"] is not None


@pytest.mark.parametrize("name", [TENSORS_FILE, CARD_FILE])
@pytest.mark.parametrize("spoil", ["cut", "flip", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    configure: Callable[..., RunConfig], tmp_path: Path, name: str, spoil: str
) -> None:
    config, run = configure(), tmp_path / "run"
    first = list(events_of(config, run, stop_at=7))
    path = run / "checkpoints" / LAST / name
    content = bytearray(path.read_bytes())
    if spoil == "cut":
        path.write_bytes(content[:-20])
    elif spoil == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    second = list(events_of(config, run, resume=True))
    notices = [event for event in second if isinstance(event, Notice)]
    assert any(event.code == "checkpoint" and name in event.message for event in notices)
    (resumed,) = [event for event in second if isinstance(event, Resumed)]
    assert resumed.path.endswith(PREVIOUS)
    known = dict.fromkeys(seen(first))
    again = [step for step in seen(second) if step[0] <= 7]
    assert all(step in known for step in again)


def test_a_run_folder_that_was_deleted_is_never_made_again(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config, run = configure(), tmp_path / "run"
    events = events_of(config, run)
    next(event for event in events if isinstance(event, StepDone) and event.step == 2)
    shutil.rmtree(run)
    with pytest.raises((ResourceError, FileNotFoundError)):
        list(events)
    assert not run.exists()


def test_no_usable_checkpoint_is_a_sentence(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config, run = configure(), tmp_path / "run"
    list(events_of(config, run, stop_at=4))
    for name in (LAST, PREVIOUS):
        (run / "checkpoints" / name / TENSORS_FILE).write_bytes(b"short")
    with pytest.raises(DataError, match="no usable checkpoint") as caught:
        list(events_of(config, run, resume=True))
    assert "config.toml" in caught.value.hint


def test_another_configuration_other_rows_and_another_model_are_refused(
    configure: Callable[..., RunConfig], tmp_path: Path, tiny_model: Path, label_rows: Path
) -> None:
    model, rows = tmp_path / "model", tmp_path / "rows.jsonl"
    shutil.copytree(tiny_model, model)
    shutil.copy(label_rows, rows)
    config = msgspec.structs.replace(
        configure(), model=ModelConfig(source=str(model)), data=DataConfig(train=str(rows))
    )
    run = tmp_path / "run"
    list(events_of(config, run, stop_at=2))
    other = msgspec.structs.replace(
        config, training=msgspec.structs.replace(config.training, batch_size=7)
    )
    with pytest.raises(UsageError, match="configuration"):
        list(events_of(other, run, resume=True))
    lines = rows.read_text().splitlines(keepends=True)
    rows.write_text("".join([*lines[1:], lines[0]]))
    with pytest.raises(DataError, match="rows"):
        list(events_of(config, run, resume=True))
    rows.write_text("".join(lines))
    _change_a_weight(model)
    with pytest.raises(ModelError, match="weights"):
        list(events_of(config, run, resume=True))


def _change_a_weight(model: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = model / "model.safetensors"
    tensors = {name: value.clone() for name, value in load_file(path).items()}
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] += 1.0
    save_file(tensors, path, metadata={"format": "pt"})
