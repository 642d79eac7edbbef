"""Presets: method, length and steps from the size of the data. Torch-free.

A preset is resolved before a run starts, so `config.toml` holds plain values; what the user names
on the command line wins over it.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from ptune_tui.config import MethodName

PresetName = Literal["quick", "balanced", "best"]

LONG_ROW_CHARACTERS = 1000  # above it a step takes half the rows
FREE_TEXT_FACTOR = 1.5  # free text needs more epochs than a choice among labels
MAX_FEW_ROWS = 200  # below it every row is seen often, so validations come often, too


class Preset(Struct, frozen=True):
    """How far a preset goes.

    Attributes:
        method: What is trained.
        num_virtual_tokens: Length of the soft prompt.
        batch_size: Rows a step.
        num_epochs: How often each row is seen, within the two limits below.
        min_steps: Fewest optimiser steps.
        max_steps: Most optimiser steps.
        num_validations: Validations spread over the run.
    """

    method: MethodName
    num_virtual_tokens: int
    batch_size: int
    num_epochs: float
    min_steps: int
    max_steps: int
    num_validations: int


PRESETS: dict[PresetName, Preset] = {
    "quick": Preset("prefix", 10, 16, 2.0, 40, 100, 2),
    "balanced": Preset("prefix", 20, 16, 5.0, 100, 400, 4),
    "best": Preset("prefix", 20, 32, 10.0, 200, 1200, 8),
}


class DataSize(Struct, frozen=True):
    """What a preset looks at.

    Attributes:
        num_train_rows: Training rows.
        mean_characters: Mean length of prompt and response together.
        has_labels: Whether the responses are a closed set.
    """

    num_train_rows: int
    mean_characters: float
    has_labels: bool


def preset_values(name: PresetName, size: DataSize) -> dict[str, Any]:
    """What a preset sets, by the configuration's dotted names.

    Args:
        name (PresetName): Which.
        size (DataSize): Of the run's data.
    """
    preset = PRESETS[name]
    batch_size = min(preset.batch_size, size.num_train_rows)
    if size.mean_characters > LONG_ROW_CHARACTERS:
        batch_size = max(1, batch_size // 2)
    num_epochs = preset.num_epochs * (1.0 if size.has_labels else FREE_TEXT_FACTOR)
    wanted = round(num_epochs * size.num_train_rows / batch_size)
    max_steps = min(max(wanted, preset.min_steps), preset.max_steps)
    num_validations = preset.num_validations * (2 if size.num_train_rows < MAX_FEW_ROWS else 1)
    return {
        "method.name": preset.method,
        "method.num_virtual_tokens": preset.num_virtual_tokens,
        "training.batch_size": batch_size,
        "training.max_steps": max_steps,
        "training.evaluate_every": -(-max_steps // num_validations),
    }


def preset_sentence(name: PresetName, size: DataSize, values: dict[str, Any]) -> str:
    """What a preset came to, for people.

    Args:
        name (PresetName): Which.
        size (DataSize): What it was chosen for.
        values (dict[str, Any]): What the run has, by dotted name.
    """
    kind = "labels" if size.has_labels else "free text"
    return (
        f"preset {name}, for {size.num_train_rows} rows of about {size.mean_characters:.0f} "
        f"characters, {kind}: method {values['method.name']}, "
        f"{values['method.num_virtual_tokens']} virtual tokens, "
        f"{values['training.max_steps']} steps of {values['training.batch_size']} rows, "
        f"a validation every {values['training.evaluate_every']} steps"
    )
