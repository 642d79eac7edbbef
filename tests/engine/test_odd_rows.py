"""Odd but possible data: it trains, and says what is odd."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ptune_tui.config import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainingConfig
from ptune_tui.errors import DataError
from ptune_tui.events import DataReady, Event, Notice, StepDone, TaskFinished
from ptune_tui.tasks import TrainTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.train import train

Run = Callable[..., list[Event]]


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Run:
    def go(rows: list[tuple[str, str]], max_tokens: int = 512, **training: object) -> list[Event]:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps({"prompt": p, "response": r}) + "\n" for p, r in rows))
        settings = {"max_steps": 3, "batch_size": 4, "evaluate_every": 3, "num_threads": 1}
        config = RunConfig(
            model=ModelConfig(source=str(tiny_model)),
            data=DataConfig(train=str(path), max_tokens=max_tokens),
            method=MethodConfig(num_virtual_tokens=3),
            training=TrainingConfig(**settings | training),  # type: ignore[arg-type]
        )
        return list(train(TrainTask(config), tmp_path, Channel(tmp_path)))

    return go


def codes(events: list[Event]) -> set[str]:
    return {event.code for event in events if isinstance(event, Notice)}


def test_one_row_is_a_sentence(run: Run) -> None:
    with pytest.raises(DataError, match="has one row"):
        run([("a", "b")])


def test_two_rows_train(run: Run) -> None:
    events = run([("a", "b"), ("c", "d")])
    assert isinstance(events[-1], TaskFinished)
    assert len([event for event in events if isinstance(event, StepDone)]) == 3


def test_identical_rows_train_and_are_pointed_out(run: Run) -> None:
    events = run([("the same", "word here")] * 3)
    assert isinstance(events[-1], TaskFinished)
    assert "identical-rows" in codes(events)


def test_one_class_trains_and_is_pointed_out(run: Run) -> None:
    events = run([(f"text {number}", "good") for number in range(12)])
    assert isinstance(events[-1], TaskFinished)
    assert "one-class" in codes(events)
    assert events[-1].summary["accuracy"] == 1.0


def test_long_prompts_are_cut_from_the_left_and_counted(run: Run) -> None:
    rows = [("word " * 60 + f"end{number}", "good") for number in range(4)]
    rows += [(f"short {number}", "bad") for number in range(8)]
    events = run(rows, max_tokens=30)
    (ready,) = [event for event in events if isinstance(event, DataReady)]
    assert ready.num_cut_rows == 4
    assert ready.max_row_tokens <= 30
    (cut,) = [event for event in events if isinstance(event, Notice) and event.code == "rows-cut"]
    assert cut.message.startswith("4 rows")


def test_fewer_steps_than_the_warm_up_take_is_no_problem(run: Run) -> None:
    events = run([(f"text {number}", "good") for number in range(12)], warmup_steps=100)
    rates = [event.learning_rate for event in events if isinstance(event, StepDone)]
    assert all(rate > 0 for rate in rates)
    assert max(rates) > 0.5 * rates[0]
