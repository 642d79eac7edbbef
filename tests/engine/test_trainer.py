"""Training: it learns, says what it does, keeps the best, and stops when told."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ptune_tui.config import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainingConfig
from ptune_tui.engine.batches import sorted_batches, training_order
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.engine.schedule import schedule
from ptune_tui.engine.validation import sample_numbers
from ptune_tui.events import (
    CheckpointSaved,
    Command,
    Continue,
    Continued,
    DataReady,
    EvaluateNow,
    EvaluationDone,
    Event,
    ModelReady,
    Notice,
    Pause,
    Paused,
    SampleMade,
    StageFinished,
    StateSaved,
    StepDone,
    Stop,
    TaskFinished,
)
from ptune_tui.tasks import TrainTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.train import train

Run = Callable[..., list[Event]]


@pytest.fixture
def run(tiny_model: Path, label_rows: Path, tmp_path: Path) -> Run:
    def go(
        commands: Callable[[], list[Command]] = list,
        data: DataConfig | None = None,
        method: MethodConfig | None = None,
        **training: object,
    ) -> list[Event]:
        settings = {"max_steps": 12, "batch_size": 8, "evaluate_every": 6, "num_threads": 1}
        settings |= {"seed": 1, **training}
        task = TrainTask(
            RunConfig(
                model=ModelConfig(source=str(tiny_model)),
                data=data or DataConfig(train=str(label_rows)),
                method=method or MethodConfig(num_virtual_tokens=5),
                training=TrainingConfig(**settings),  # type: ignore[arg-type]
            )
        )
        channel = Channel(tmp_path)
        channel.commands = commands  # type: ignore[method-assign]
        return list(train(task, tmp_path, channel))

    return go


def steps(events: list[Event]) -> list[StepDone]:
    return [event for event in events if isinstance(event, StepDone)]


def test_the_loss_falls(run: Run) -> None:
    found = steps(run(max_steps=40, learning_rate=1.0))
    first, last = found[0].loss, sum(step.loss for step in found[-5:]) / 5
    assert last < 0.7 * first


def test_the_same_seed_gives_the_same_losses_and_another_gives_others(run: Run) -> None:
    one, same, other = run(), run(), run(seed=2)
    assert [step.loss for step in steps(one)] == [step.loss for step in steps(same)]
    assert [step.loss for step in steps(one)] != [step.loss for step in steps(other)]


def test_events_describe_the_run(run: Run) -> None:
    events = run()
    model = next(event for event in events if isinstance(event, ModelReady))
    assert (model.family, model.num_layers) == ("llama", 2)
    assert model.relative_error is not None
    assert 0 < model.relative_error < 0.1
    data = next(event for event in events if isinstance(event, DataReady))
    assert data.labels == ["bad green", "bad red", "good"]
    assert data.num_train_rows + data.num_validation_rows == 48
    assert [step.step for step in steps(events)] == list(range(1, 13))
    assert any(isinstance(event, Notice) and event.code == "kernel" for event in events)
    evaluations = [event for event in events if isinstance(event, EvaluationDone)]
    assert [event.step for event in evaluations] == [0, 6, 12]
    assert [event.tuned for event in evaluations] == [False, True, True]
    finished = events[-1]
    assert isinstance(finished, TaskFinished)
    best = max(event.accuracy for event in evaluations if event.tuned)
    assert finished.summary["accuracy"] == best


def test_the_checkpoint_is_the_best_prompt(run: Run, tmp_path: Path) -> None:
    events = run(max_steps=18)
    saved = [event for event in events if isinstance(event, CheckpointSaved)]
    assert saved[-1].accuracy == max(event.accuracy for event in saved)
    from ptune_tui.engine.adapter import load_adapter

    prompt, card = load_adapter(tmp_path / "adapter")
    assert isinstance(prompt, VirtualTokens)
    assert prompt.embeddings_PH.shape == (5, 64)
    assert card.accuracy == saved[-1].accuracy
    assert card.step == saved[-1].step


def test_stop_and_save_ends_after_the_step_with_a_checkpoint(run: Run, tmp_path: Path) -> None:
    asked = iter([[], [], [Stop(save=True)]])
    events = run(commands=lambda: next(asked, []))
    assert len(steps(events)) == 3
    finished = events[-1]
    assert isinstance(finished, TaskFinished)
    assert finished.stopped_early
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_stop_and_discard_saves_nothing(run: Run, tmp_path: Path) -> None:
    events = run(commands=lambda: [Stop(save=False)])
    assert len(steps(events)) == 1
    assert not (tmp_path / "adapter").exists()


def test_a_pause_waits_and_changes_nothing_of_what_is_computed(run: Run, tmp_path: Path) -> None:
    plain = steps(run())
    asked = iter([[], [Pause()], *[[]] * 5, [EvaluateNow()], [Continue()]])
    events = run(commands=lambda: next(asked, []))
    paused = next(number for number, event in enumerate(events) if isinstance(event, Paused))
    going_on = next(number for number, event in enumerate(events) if isinstance(event, Continued))
    waiting = events[paused:going_on]
    assert [event.step for event in waiting if isinstance(event, EvaluationDone)] == [2]
    assert not steps(waiting)
    assert isinstance(events[paused - 1], StateSaved)  # a worker killed meanwhile loses nothing
    assert [step.loss for step in steps(events)] == [step.loss for step in plain]
    wait = events[going_on]
    assert isinstance(wait, Continued)
    assert wait.seconds > 0.3
    before, after = steps(events)[1], steps(events)[2]
    evaluation = next(event for event in waiting if isinstance(event, EvaluationDone))
    trained = after.elapsed_seconds - before.elapsed_seconds - evaluation.seconds
    assert trained < wait.seconds


@pytest.mark.parametrize("save", [True, False])
def test_a_paused_run_can_be_stopped(run: Run, tmp_path: Path, save: bool) -> None:
    asked = iter([[Pause()], [], [Stop(save=save)]])
    events = run(commands=lambda: next(asked, []))
    assert len(steps(events)) == 1
    finished = events[-1]
    assert isinstance(finished, TaskFinished)
    assert finished.stopped_early
    assert (tmp_path / "adapter").exists() is save


def test_a_pause_that_follows_going_on_at_once_waits_again(run: Run) -> None:
    asked = iter([[Pause()], [Continue(), Pause()], [], [Continue()]])
    events = run(commands=lambda: next(asked, []))
    waits = [event for event in events if isinstance(event, Paused | Continued)]
    assert [type(event) for event in waits] == [Paused, Continued, Paused, Continued]
    assert {event.step for event in waits} == {1}
    assert len(steps(events)) == 12


def test_a_pause_that_was_taken_back_at_once_is_none(run: Run) -> None:
    asked = iter([[Pause(), Continue()]])
    events = run(commands=lambda: next(asked, []))
    assert not [event for event in events if isinstance(event, Paused)]
    assert len(steps(events)) == 12


def test_stages_come_in_order_with_their_times(run: Run) -> None:
    found = [event.stage for event in run() if isinstance(event, StageFinished)]
    assert found == ["load", "tokenise", "probe", "evaluate", "evaluate", "evaluate", "train"]


def test_each_validation_shows_the_same_few_rows(run: Run) -> None:
    events = run()
    shown = [event for event in events if isinstance(event, SampleMade)]
    rows = [[sample.prompt for sample in shown if sample.step == step] for step in (0, 6, 12)]
    assert len(rows[0]) == 4  # all that are held out
    assert rows[0] == rows[1] == rows[2]
    assert {sample.expected for sample in shown} == {"bad green", "bad red", "good"}


@pytest.mark.parametrize(
    ("responses", "numbers"),
    [
        (["a"] * 3, [0, 1, 2]),
        (["a"] * 100, [0, 20, 40, 60, 80]),
        ([*["a"] * 50, *["b"] * 49, "c"], [0, 20, 40, 60, 99]),
    ],
)
def test_rows_to_show_are_spread_and_of_all_responses(
    responses: list[str], numbers: list[int]
) -> None:
    assert sample_numbers(responses) == numbers


def test_free_text_is_scored_by_exact_match_and_loss(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_text(
        "".join(f'{{"prompt": "say {n}", "response": "word {n} it"}}\n' for n in range(20)),
        encoding="utf-8",
    )
    events = run(data=DataConfig(train=str(path)), max_steps=4)
    evaluations = [event for event in events if isinstance(event, EvaluationDone)]
    assert all(event.macro_f1 is None and event.loss is not None for event in evaluations)
    data = next(event for event in events if isinstance(event, DataReady))
    assert data.labels is None
    assert data.template == "chat"
    assert data.num_shared_tokens > 0


@pytest.mark.parametrize("init", ["text", "labels", "vocabulary"])
def test_every_start_is_made_of_vocabulary_rows(run: Run, tmp_path: Path, init: str) -> None:
    run(
        method=MethodConfig(num_virtual_tokens=7, init=init),  # type: ignore[arg-type]
        max_steps=1,
        learning_rate=1e-9,
    )
    from ptune_tui.engine.adapter import load_adapter
    from ptune_tui.engine.model import load_frozen

    prompt, card = load_adapter(tmp_path / "adapter")
    frozen = load_frozen(Path(card.model), "tiny", "int4", "stream")
    table = frozen.embed(torch.arange(frozen.config.vocab_size))
    assert isinstance(prompt, VirtualTokens)
    nearest = (prompt.embeddings_PH[:, None] - table[None]).abs().amax(-1).amin(-1)
    assert float(nearest.max()) < 1e-6


def test_the_learning_rate_is_in_units_of_the_vocabulary(run: Run, tiny_model: Path) -> None:
    from ptune_tui.engine.model import load_frozen

    frozen = load_frozen(tiny_model, "tiny", "int4", "stream")
    first = steps(run(learning_rate=0.5, warmup_steps=0))[0].learning_rate
    everything = frozen.embed(torch.arange(frozen.config.vocab_size))
    assert first == pytest.approx(0.5 * float(everything.std()), rel=1e-4)


def test_the_schedule_warms_up_and_falls_along_a_cosine() -> None:
    rates = [schedule(step, 20, 300) for step in range(1, 301)]
    assert rates[:21] == sorted(rates[:21])
    assert rates[20] == pytest.approx(1.0)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[160] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)), abs=0.01)
    assert 0 < rates[-1] < 0.01


@pytest.mark.parametrize(("num_rows", "batch_size"), [(10, 3), (100, 32), (5, 8), (300, 4)])
def test_no_batch_and_no_epoch_has_a_row_twice_and_all_rows_come(
    num_rows: int, batch_size: int
) -> None:
    lengths = [(7 * row) % 11 for row in range(num_rows)]
    order = training_order(lengths, batch_size, torch.Generator().manual_seed(0))
    size = min(batch_size, num_rows)
    seen: set[int] = set()
    for _ in range(20):
        epoch = [row for _ in range(num_rows // size) for row in next(order)]
        assert len(set(epoch)) == len(epoch) == num_rows // size * size
        seen |= set(epoch)
    assert seen == set(range(num_rows))


def test_scoring_batches_cover_every_row_within_the_token_limit() -> None:
    lengths = [5, 90, 3, 70, 1, 8]
    batches = list(sorted_batches(lengths, 100))
    assert sorted(row for batch in batches for row in batch) == list(range(6))
    assert all(len(batch) * max(lengths[row] for row in batch) <= 100 for batch in batches)
