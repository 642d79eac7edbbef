"""Runs of every method: trained, saved as an adapter, scored again, and started from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from ptune_tui.config import (
    DataConfig,
    MethodConfig,
    MethodName,
    ModelConfig,
    RunConfig,
    TrainingConfig,
    parse,
)
from ptune_tui.errors import ModelError, UsageError
from ptune_tui.events import EvaluationDone, Event, Notice
from ptune_tui.tasks import EvaluateTask, ExportTask, TrainTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.evaluate import evaluate
from ptune_tui.worker.export import export
from ptune_tui.worker.train import train


class Bench:
    """Trains and scores in this process."""

    def __init__(self, folder: Path, model: Path, rows: Path) -> None:
        self.folder, self.model, self.rows = folder, model, rows

    def train(self, run: Path, method: MethodConfig) -> list[Event]:
        run.mkdir()
        config = RunConfig(
            model=ModelConfig(source=str(self.model)),
            data=DataConfig(train=str(self.rows)),
            method=method,
            training=TrainingConfig(max_steps=4, batch_size=8, evaluate_every=4, num_threads=1),
        )
        return list(train(TrainTask(config), run, Channel(run)))

    def score(self, run: Path, *, force: bool = False) -> Iterator[Event]:
        task = EvaluateTask(str(run), str(self.rows), max_rows=12, force=force)
        return evaluate(task, self.folder, Channel(self.folder))


@pytest.fixture
def bench(tmp_path: Path, tiny_model: Path, label_rows: Path) -> Bench:
    return Bench(tmp_path, tiny_model, label_rows)


def small(name: MethodName, **changes: object) -> MethodConfig:
    settings = MethodConfig(name=name, num_virtual_tokens=5, mlp_size=8, rank=3)
    return msgspec.structs.replace(settings, **changes)


def scores_of(events: Iterator[Event] | list[Event]) -> list[EvaluationDone]:
    return [event for event in events if isinstance(event, EvaluationDone)]


@pytest.mark.parametrize("name", get_args(MethodName))
def test_a_run_is_saved_as_an_adapter_and_scored_again(
    bench: Bench, tmp_path: Path, name: MethodName
) -> None:
    run = tmp_path / "run"
    best = max(event.accuracy for event in scores_of(bench.train(run, small(name))) if event.tuned)
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert config["peft_type"] == ("PREFIX_TUNING" if name == "prefix" else "PROMPT_TUNING")
    assert config["num_virtual_tokens"] == 5
    card = json.loads((run / "adapter" / "prompt.json").read_text())
    assert card["accuracy"] == best
    assert [event.num_rows for event in scores_of(bench.score(run))] == [12]


def test_a_run_starts_from_an_earlier_one(bench: Bench, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    bench.train(earlier, small("lowrank"))
    for name in ("prompt", "prefix"):
        method = small(name, init="prompt", init_prompt=str(earlier))  # type: ignore[arg-type]
        events = bench.train(tmp_path / name, method)
        assert not [e for e in events if isinstance(e, Notice) and e.code == "init-prompt"]
        assert scores_of(events)[-1].tuned


def test_a_prompt_goes_to_other_weights_only_by_force(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bench.train(run, small("prompt"))
    path = run / "adapter" / "prompt.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights_hash": "0" * 64}))
    with pytest.raises(ModelError, match="other weights") as caught:
        list(bench.score(run))
    assert "--force" in caught.value.hint
    with pytest.raises(ModelError, match="other weights"):
        list(export(ExportTask(str(run), str(tmp_path / "bundle"), "mine"), Channel(run)))
    events = list(bench.score(run, force=True))
    assert [e.code for e in events if isinstance(e, Notice) and "other weights" in e.message] == [
        "other-weights"
    ]
    assert len(scores_of(events)) == 1


def test_an_empty_init_text_is_refused_and_not_replaced(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is empty"):
        bench.train(tmp_path / "run", small("prompt", init_text=""))


@pytest.mark.parametrize("num_virtual_tokens", [510, 5000])
def test_more_virtual_tokens_than_context_are_refused(
    bench: Bench, tmp_path: Path, num_virtual_tokens: int
) -> None:
    with pytest.raises(UsageError, match=f"{num_virtual_tokens} virtual tokens .* context of 512"):
        bench.train(tmp_path / "run", small("prefix", num_virtual_tokens=num_virtual_tokens))


def test_no_virtual_tokens_are_refused_by_the_configuration() -> None:
    with pytest.raises(UsageError, match="num_virtual_tokens"):
        parse({"method": {"num_virtual_tokens": 0}}, "run.toml")
