"""Presets in the form: what one fills in, and what the user wrote stays. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError
from ptune_tui.presets import DataSize, PresetName, preset_values
from ptune_tui.reading.source import is_here, training_split, validation_split
from ptune_tui.rows import closed_set, num_held_out, read_rows
from ptune_tui.tui.fields import as_text, form_fields
from ptune_tui.tui.fitting import changed_at, data_file

PRESET_FIELDS = (
    "method.name",
    "method.num_virtual_tokens",
    "training.max_steps",
    "training.batch_size",
    "training.evaluate_every",
)


def preset_texts(name: PresetName | None, data: DataConfig) -> dict[str, str]:
    """What a preset fills in, by field; the defaults where there is none. Reads the data.

    Args:
        name (PresetName | None): Which.
        data (DataConfig): The rows that it is chosen for.

    Raises:
        DataError: The rows cannot be read.
    """
    defaults = {field.name: field.default for field in form_fields()}
    texts = {field: defaults[field] for field in PRESET_FIELDS}
    if name is not None:
        values = preset_values(name, data_size(data))
        texts |= {field: as_text(values[field]) for field in PRESET_FIELDS if field in values}
    return texts


def changes(
    texts: Mapping[str, str], before: Mapping[str, str], now: Mapping[str, str]
) -> dict[str, str]:
    """The fields that a preset changes: those that still hold what was filled in before.

    Args:
        texts (Mapping[str, str]): The form.
        before (Mapping[str, str]): What was filled in last.
        now (Mapping[str, str]): What is to be filled in.
    """
    return {
        field: text
        for field, text in now.items()
        if texts[field] == before[field] and texts[field] != text
    }


def data_size(data: DataConfig) -> DataSize:
    """The size of a run's training rows, as a preset looks at it.

    Args:
        data (DataConfig): Which rows.

    Raises:
        DataError: They cannot be read.
    """
    path = data_file(data)
    if not is_here(data.train) and not path.is_file():
        raise DataError(
            f"{data.train} is not on this disk yet, so its size is not known.",
            "The preview fetches it.",
        )
    name = training_split(str(path))
    return _size(path, name, changed_at(name), data)


@lru_cache(maxsize=4)
def _size(path: Path, name: str, _changed: tuple[int, ...], data: DataConfig) -> DataSize:
    own = Path(data.train).expanduser()
    rows = read_rows(Path(name), data)
    is_split = data.validation is None and path == own and validation_split(str(own)) is None
    num_rows = len(rows) - (num_held_out(len(rows)) if is_split else 0)
    characters = sum(len(row.prompt) + len(row.response) for row in rows) / len(rows)
    return DataSize(num_rows, characters, closed_set(rows, data.scoring) is not None)
