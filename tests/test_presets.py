"""Presets choose within their limits, from the data's size, and give values a run accepts."""

from __future__ import annotations

from itertools import product

import pytest

from ptune_tui import config
from ptune_tui.config import RunConfig
from ptune_tui.presets import PRESETS, DataSize, PresetName, preset_sentence, preset_values

NAMES: tuple[PresetName, ...] = ("quick", "balanced", "best")


@pytest.mark.parametrize(
    ("name", "num_rows", "characters", "has_labels"),
    product(NAMES, (1, 30, 500, 60_000), (40.0, 5000.0), (True, False)),
)
def test_every_preset_is_a_run_within_its_limits(
    name: PresetName, num_rows: int, characters: float, has_labels: bool
) -> None:
    size = DataSize(num_rows, characters, has_labels)
    values = preset_values(name, size)
    chosen = config.override(RunConfig(), values).training
    assert PRESETS[name].min_steps <= chosen.max_steps <= PRESETS[name].max_steps
    assert 1 <= chosen.batch_size <= num_rows
    assert chosen.evaluate_every <= chosen.max_steps
    assert str(chosen.max_steps) in preset_sentence(name, size, values)


def test_more_rows_and_free_text_take_more_steps_and_long_rows_fewer_at_a_time() -> None:
    few = preset_values("balanced", DataSize(400, 50.0, True))
    many = preset_values("balanced", DataSize(1000, 50.0, True))
    text = preset_values("balanced", DataSize(400, 50.0, False))
    long = preset_values("balanced", DataSize(400, 4000.0, True))
    assert few["training.max_steps"] < many["training.max_steps"]
    assert few["training.max_steps"] < text["training.max_steps"]
    assert long["training.batch_size"] == few["training.batch_size"] // 2


def test_presets_grow_from_quick_to_best() -> None:
    size = DataSize(1000, 50.0, True)
    rows = [
        values["training.max_steps"] * values["training.batch_size"]
        for values in (preset_values(name, size) for name in NAMES)
    ]
    assert rows == sorted(set(rows))
