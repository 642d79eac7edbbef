"""Divergence is noticed, rolled back twice at a lower rate, and then ends with a reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from ptune_tui.config import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainingConfig
from ptune_tui.engine import optimisation
from ptune_tui.engine.adapter import load_adapter
from ptune_tui.engine.divergence import MAX_FAR_STEPS, LossWatch, loss_sign, prompt_sign
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.run_state import BestScore
from ptune_tui.errors import UsageError, explain
from ptune_tui.events import (
    CheckpointSaved,
    Diverged,
    Event,
    Notice,
    RolledBack,
    StepDone,
    TaskFinished,
)
from ptune_tui.tasks import TrainTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.train import train

Start = Callable[..., list[Event]]
Begin = Callable[..., Iterator[Event]]


@pytest.fixture
def begin(tiny_model: Path, label_rows: Path, tmp_path: Path) -> Begin:
    """The events of a run as they come."""

    def go(resume: bool = False, **training: object) -> Iterator[Event]:
        settings = {"max_steps": 12, "batch_size": 6, "evaluate_every": 4, "save_every": 3}
        settings |= {"num_threads": 1, "warmup_steps": 0, "max_validation_rows": 4} | training
        config = RunConfig(
            model=ModelConfig(source=str(tiny_model)),
            data=DataConfig(train=str(label_rows)),
            method=MethodConfig(num_virtual_tokens=4),
            training=TrainingConfig(**settings),  # type: ignore[arg-type]
        )
        return train(TrainTask(config, resume), tmp_path, Channel(tmp_path))

    return go


@pytest.fixture
def start(begin: Begin) -> Start:
    """Trains and collects the events, those before an error, too."""

    def go(events: list[Event], **options: object) -> list[Event]:
        events.extend(begin(**options))
        return events

    return go


def of_type(events: list[Event], kind: type) -> list:  # type: ignore[type-arg]
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[int]], None]:
    """Makes the losses of some calls NaN."""
    real = optimisation.Optimisation._add_gradients

    def install(calls: set[int]) -> None:
        count = [0]

        def gradients(*arguments: object) -> tuple[Prompt, float]:
            count[0] += 1
            prompt, loss = real(*arguments)  # type: ignore[arg-type]
            return prompt, math.nan if count[0] in calls else loss

        monkeypatch.setattr(optimisation.Optimisation, "_add_gradients", gradients)

    return install


def test_a_poisoned_step_is_rolled_back_to_the_last_good_state_at_a_lower_rate(
    start: Start, poison: Callable[[set[int]], None]
) -> None:
    events = start([], learning_rate=0.5)
    poison({8})
    poisoned = start([], learning_rate=0.5)
    (diverged,) = of_type(poisoned, Diverged)
    (rolled_back,) = of_type(poisoned, RolledBack)
    assert (diverged.step, diverged.what) == (8, "loss")
    assert (rolled_back.step, rolled_back.to_step) == (8, 6)
    steps = of_type(poisoned, StepDone)
    assert [step.step for step in steps] == [*range(1, 8), *range(7, 13)]
    before, again = steps[6], steps[7]
    assert again.loss == before.loss
    assert again.learning_rate == pytest.approx(0.3 * before.learning_rate)
    assert [step.loss for step in steps[:7]] == [step.loss for step in of_type(events, StepDone)][
        :7
    ]
    assert isinstance(poisoned[-1], TaskFinished)


def test_the_third_divergence_ends_with_the_reason_and_the_best_prompt_is_kept(
    start: Start, poison: Callable[[set[int]], None], tmp_path: Path
) -> None:
    poison({6, 9, 10})
    events: list[Event] = []
    with pytest.raises(UsageError, match="is not finite") as caught:
        start(events)
    assert len(of_type(events, RolledBack)) == 2
    assert len(of_type(events, Diverged)) == 3
    assert "--find-lr" in caught.value.hint
    assert explain(caught.value).exit_code == 2
    saved = of_type(events, CheckpointSaved)[-1]
    _, card = load_adapter(tmp_path / "adapter")
    assert card.step == saved.step == 4


def test_a_rollback_survives_the_worker(
    start: Start, begin: Begin, poison: Callable[[set[int]], None]
) -> None:
    poison({5})
    whole = [(step.step, step.loss, step.learning_rate) for step in of_type(start([]), StepDone)]
    poison({5})
    has_rolled_back = False
    for event in begin():
        has_rolled_back |= isinstance(event, RolledBack)
        if has_rolled_back and isinstance(event, StepDone):
            break
    poison(set())
    resumed = [
        (step.step, step.loss, step.learning_rate)
        for step in of_type(start([], resume=True), StepDone)
    ]
    assert resumed == whole[-len(resumed) :]


@pytest.mark.parametrize("rate", [1e6, 1e30])
def test_an_absurd_rate_ends_with_a_sentence(start: Start, rate: float) -> None:
    events: list[Event] = []
    with pytest.raises(UsageError, match=r"times its start|not finite"):
        start(events, learning_rate=rate)
    assert [event.to_step for event in of_type(events, RolledBack)] == [0, 0]
    rates = [event.learning_rate for event in of_type(events, RolledBack)]
    assert rates[1] == pytest.approx(0.3 * rates[0])


def test_a_loss_far_above_its_best_for_long_is_a_sign() -> None:
    watch = LossWatch()
    assert all(loss_sign(step, 0.2, 1.0, watch) is None for step in range(50))
    found = [loss_sign(step, 9.0, 1.0, watch) for step in range(60)]
    first = next(number for number, sign in enumerate(found) if sign is not None)
    assert MAX_FAR_STEPS <= first < MAX_FAR_STEPS + 10
    sign = found[first]
    assert sign is not None
    assert sign.what == "loss"
    assert "far above" in sign.reason


def test_a_noisy_loss_is_none() -> None:
    generator = torch.Generator().manual_seed(0)
    watch = LossWatch()
    losses = (3.0 * torch.rand(500, generator=generator) ** 4).tolist()
    assert all(loss_sign(step, loss, 1.0, watch) is None for step, loss in enumerate(losses))


@pytest.mark.parametrize(
    ("size", "is_sign"), [(1.0, False), (900.0, False), (1100.0, True), (math.nan, True)]
)
def test_a_prompt_a_thousand_times_its_start_is_a_sign(size: float, is_sign: bool) -> None:
    assert (prompt_sign(1, size, 1.0) is not None) == is_sign


def test_a_gradient_that_is_not_finite_is_a_sign() -> None:
    sign = loss_sign(3, 1.0, math.inf, LossWatch())
    assert sign is not None
    assert sign.what == "gradient"


def test_early_stopping_ends_after_validations_without_a_better_one(
    start: Start, tmp_path: Path
) -> None:
    events = start([], learning_rate=1e-9, evaluate_every=2, early_stopping=2, max_steps=50)
    assert of_type(events, StepDone)[-1].step == 6
    assert any(event.code == "early-stopping" for event in of_type(events, Notice))
    assert isinstance(events[-1], TaskFinished)
    assert not events[-1].stopped_early


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (BestScore(1, 0.9, 0.5, None), BestScore(2, 0.8, 0.8, None)),
        (BestScore(1, 0.9, 0.8, None), BestScore(2, 0.9, 0.5, None)),
        (BestScore(1, 0.1, None, 0.4), BestScore(2, 0.2, None, 0.5)),
    ],
)
def test_labels_are_judged_by_accuracy_then_macro_f1_and_free_text_by_its_loss(
    better: BestScore, worse: BestScore
) -> None:
    assert better.key > worse.key
