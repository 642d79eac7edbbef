"""The figures of a bench, computed from its steps."""

from __future__ import annotations

import pytest

from ptune_tui.training_speed import ContenderSpeed, measured, with_ratios


def test_the_median_of_the_steps_counts_and_tokens_are_per_second_of_it() -> None:
    speed = measured(ContenderSpeed(side="ptune", variant="cached"), [2.0, 0.5, 9.0], 768)
    assert speed.step_seconds == (2.0, 0.5, 9.0)
    assert speed.seconds_per_step == 2.0
    assert speed.tokens_per_second == 384.0


def test_ratios_are_against_the_fastest_of_peft_and_its_own_memory() -> None:
    ours = measured(
        ContenderSpeed(side="ptune", variant="cached", peak_memory_bytes=100), [1.0], 10
    )
    slow = measured(ContenderSpeed(side="peft", variant="bf16", peak_memory_bytes=50), [4.0], 10)
    fast = measured(ContenderSpeed(side="peft", variant="fp32", peak_memory_bytes=200), [2.0], 10)
    absent = ContenderSpeed(side="peft", variant="nf4", unavailable="it is not installed")
    found, fastest = with_ratios([ours, slow, fast, absent])
    assert fastest == "peft fp32"
    assert [item.speed_ratio for item in found] == [2.0, 0.5, 1.0, None]
    assert [item.memory_ratio for item in found] == [0.5, 0.25, 1.0, None]


def test_without_peft_there_are_no_ratios() -> None:
    ours = measured(ContenderSpeed(side="ptune", variant="cached"), [1.0], 10)
    found, fastest = with_ratios([ours])
    assert fastest is None
    assert found[0].speed_ratio is None
    assert found[0].tokens_per_second == pytest.approx(10)


@pytest.mark.parametrize(("steps", "is_unsteady"), [([1.0, 1.4], False), ([1.0, 1.6], True)])
def test_steps_that_differ_much_are_called_unsteady(steps: list[float], is_unsteady: bool) -> None:
    speed = measured(ContenderSpeed(side="ptune", variant="cached"), steps, 10)
    assert speed.is_unsteady is is_unsteady
