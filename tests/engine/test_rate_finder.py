"""The range test proposes a rate inside the fall of the loss, and says so where there is none."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest

from ptune_tui.config import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainingConfig
from ptune_tui.engine.rate_finder import STOP_FACTOR, propose, rates
from ptune_tui.errors import UsageError
from ptune_tui.events import Event, RateProposed, RateTried
from ptune_tui.tasks import FindRateTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.find_rate import find_rate


def curve(losses: list[float]) -> list[RateTried]:
    return [RateTried(10 ** (number / 10 - 3), loss) for number, loss in enumerate(losses)]


def sigmoid_fall(middle: float) -> list[RateTried]:
    """A loss that falls from 10 to 2 around a rate, and rises again from 1 on."""
    tried = curve([0.0] * 40)
    return [
        RateTried(
            each.learning_rate,
            2.0
            + 8.0 / (1.0 + (each.learning_rate / middle) ** 2)
            + max(0.0, 20.0 * math.log10(each.learning_rate)),
        )
        for each in tried
    ]


@pytest.mark.parametrize("middle", [0.01, 0.03, 0.1])
def test_the_proposal_is_a_tenth_of_the_rate_of_the_lowest_loss(middle: float) -> None:
    tried = sigmoid_fall(middle)
    lowest = min(tried, key=lambda each: each.loss).learning_rate
    assert propose(tried).learning_rate == pytest.approx(0.1 * lowest)


@pytest.mark.parametrize("losses", [[5.0] * 20, [float(5 + number) for number in range(20)]])
def test_a_loss_that_never_falls_is_a_sentence(losses: list[float]) -> None:
    with pytest.raises(UsageError, match="fell at no rate"):
        propose(curve(losses))


def test_too_few_rates_are_a_sentence() -> None:
    with pytest.raises(UsageError, match="exploded after 2"):
        propose(curve([5.0, 50.0]))


def test_rates_rise_by_equal_ratios_around_the_method_s_own() -> None:
    found = rates(0.3, 81)
    assert found[40] == pytest.approx(0.3)
    ratios = [after / before for before, after in pairwise(found)]
    assert ratios == pytest.approx([ratios[0]] * 80)


def find(model: Path, rows: Path, folder: Path, num_steps: int) -> list[Event]:
    config = RunConfig(
        model=ModelConfig(source=str(model)),
        data=DataConfig(train=str(rows)),
        method=MethodConfig(num_virtual_tokens=4),
        training=TrainingConfig(batch_size=8, num_threads=1),
    )
    return list(find_rate(FindRateTask(config, num_steps), Channel(folder)))


def test_a_range_test_says_every_rate_and_a_proposal_and_writes_no_run(
    tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    events = find(tiny_model, label_rows, tmp_path, 40)
    tried = [event for event in events if isinstance(event, RateTried)]
    (proposed,) = [event for event in events if isinstance(event, RateProposed)]
    assert tried[0].learning_rate < proposed.learning_rate < tried[-1].learning_rate
    best = math.inf
    for each in tried[:-1]:
        best = min(best, each.loss)
        assert each.loss <= STOP_FACTOR * best
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.jsonl"]
