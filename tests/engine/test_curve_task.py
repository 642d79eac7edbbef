"""A learning curve: its points are those of plain runs, and a stopped one goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ptune_tui.config import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainingConfig
from ptune_tui.data import load_data
from ptune_tui.errors import DataError
from ptune_tui.events import (
    Command,
    CurvePointMeasured,
    EvaluationDone,
    Event,
    ModelReady,
    StepDone,
    Stop,
    TaskFinished,
)
from ptune_tui.results import LearningCurve, read_learning_curve
from ptune_tui.subsets import nested_order
from ptune_tui.tasks import LearningCurveTask, TrainTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.learning_curve import learning_curve
from ptune_tui.worker.train import train

SIZES = [6, 12, 24, 40]


@pytest.fixture
def config(tiny_model: Path, label_rows: Path) -> RunConfig:
    return RunConfig(
        model=ModelConfig(source=str(tiny_model), kernel="stream"),
        data=DataConfig(train=str(label_rows), validation=str(label_rows)),
        method=MethodConfig(num_virtual_tokens=3),
        training=TrainingConfig(
            max_steps=4, batch_size=8, num_threads=1, learning_rate=1.0, max_validation_rows=20
        ),
    )


def events_of(task: LearningCurveTask, folder: Path, stop_after: int = 0) -> Iterator[Event]:
    """The events of a curve, which is told to stop in the step after so many."""
    folder.mkdir(exist_ok=True)
    channel = Channel(folder)
    num_steps = 0

    def commands() -> list[Command]:
        return [Stop(save=True)] if num_steps == stop_after else []

    if stop_after:
        channel.commands = commands  # type: ignore[method-assign]
    for event in learning_curve(task, folder, channel):
        num_steps += isinstance(event, StepDone)
        yield event


def scores(curve: LearningCurve | None) -> list[tuple[int, int, float, int]]:
    assert curve is not None
    return [(each.num_rows, each.seed, each.score, each.num_steps) for each in curve.points]


def test_one_model_is_loaded_and_every_size_and_seed_is_a_point(
    config: RunConfig, tmp_path: Path
) -> None:
    task = LearningCurveTask(config, SIZES, "ptune learning-curve", num_seeds=2, run=str(tmp_path))
    events = list(events_of(task, tmp_path / "curve"))
    assert sum(isinstance(event, ModelReady) for event in events) == 1
    assert sum(isinstance(event, EvaluationDone) for event in events) == 1  # the base
    points = [event for event in events if isinstance(event, CurvePointMeasured)]
    expected = [(size, seed) for seed in (0, 1) for size in SIZES]
    assert [(point.num_rows, point.seed) for point in points] == expected
    assert [point.num_done for point in points] == list(range(1, 9))
    curve = read_learning_curve(tmp_path / "curve")
    assert curve is not None
    assert curve == read_learning_curve(tmp_path)
    assert [(each.num_rows, each.seed) for each in curve.points] == expected
    assert curve.num_validation_rows == 20
    assert curve.fit is not None
    assert curve.fit.doubled_rows == 80
    assert isinstance(events[-1], TaskFinished)


def test_a_point_is_what_a_run_on_these_rows_scores(
    config: RunConfig, label_rows: Path, tmp_path: Path
) -> None:
    task = LearningCurveTask(config, [12], "")
    events = list(events_of(task, tmp_path / "curve"))
    data = load_data(config.data, 0)
    order = nested_order(data.train, data.labels, 0)[:12]
    lines = label_rows.read_text(encoding="utf-8").splitlines(keepends=True)
    part = tmp_path / "part.jsonl"
    part.write_text("".join(lines[number] for number in order), encoding="utf-8")
    own = msgspec.structs.replace(
        config,
        data=msgspec.structs.replace(config.data, train=str(part), scoring="labels"),
        training=msgspec.structs.replace(config.training, evaluate_every=4),
    )
    (tmp_path / "run").mkdir()
    theirs = list(train(TrainTask(own), tmp_path / "run", Channel(tmp_path / "run")))
    losses = [
        [each.loss for each in every if isinstance(each, StepDone)] for every in (events, theirs)
    ]
    assert losses[0] == losses[1]
    last = next(e for e in theirs if isinstance(e, EvaluationDone) and e.tuned and e.num_rows == 20)
    assert scores(read_learning_curve(tmp_path / "curve")) == [(12, 0, last.accuracy, 4)]


def test_a_stopped_curve_keeps_its_points_and_goes_on_like_an_unbroken_one(
    config: RunConfig, tmp_path: Path
) -> None:
    task = LearningCurveTask(config, SIZES, "")
    list(events_of(task, tmp_path / "whole"))
    whole = read_learning_curve(tmp_path / "whole")
    first = list(events_of(task, tmp_path / "parts", stop_after=10))
    assert isinstance(first[-1], TaskFinished)
    assert first[-1].stopped_early
    stopped = read_learning_curve(tmp_path / "parts")
    assert scores(stopped) == scores(whole)[:2]
    assert stopped is not None
    assert stopped.verdict.startswith("Too few")
    resumed = msgspec.structs.replace(task, resume=True)
    second = list(events_of(resumed, tmp_path / "parts"))
    assert sum(isinstance(event, StepDone) for event in second) == 2 * 4
    assert not any(isinstance(event, EvaluationDone) for event in second)
    assert scores(read_learning_curve(tmp_path / "parts")) == scores(whole)
    again = list(events_of(resumed, tmp_path / "parts"))
    assert not any(isinstance(event, StepDone) for event in again)


def test_a_curve_does_not_go_on_with_other_rows(
    config: RunConfig, label_rows: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    lines = label_rows.read_text(encoding="utf-8").splitlines(keepends=True)
    rows.write_text("".join(lines), encoding="utf-8")
    own = msgspec.structs.replace(
        config, data=msgspec.structs.replace(config.data, train=str(rows))
    )
    task = LearningCurveTask(own, [6], "", resume=True)
    list(events_of(task, tmp_path / "curve"))
    rows.write_text("".join(reversed(lines)), encoding="utf-8")
    with pytest.raises(DataError, match="rows are not those"):
        list(events_of(task, tmp_path / "curve"))
