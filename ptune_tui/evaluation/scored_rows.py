"""The rows that a run is checked by while it trains, as rows to score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ptune_tui.config import RunConfig
from ptune_tui.data import builtin_names, data_path, load_data
from ptune_tui.reading.source import training_split, validation_split
from ptune_tui.rows import Row


@dataclass(frozen=True)
class ScoredRows:
    """Rows to score.

    Attributes:
        name: What a reader calls them.
        source: The file or folder they are from.
        split_seed: Of the split, where they were held out of the training rows.
        rows: All of them.
    """

    name: str
    source: Path
    split_seed: int | None
    rows: list[Row]


def validation_rows(config: RunConfig) -> ScoredRows:
    """The rows that a run is checked by.

    Args:
        config (RunConfig): The run's.

    Raises:
        DataError: They are not there any more, or cannot be read.
    """
    data, seed = config.data, config.training.seed
    rows = load_data(data, seed).validation
    if data.validation is None and data.train in builtin_names():
        return ScoredRows(data.train, data_path(data.train), None, rows)
    named = data.validation or validation_split(data.train)
    if named is not None:
        return ScoredRows(named, data_path(named), None, rows)
    source = Path(training_split(data.train))
    return ScoredRows(f"rows held out of {data.train}", source, seed, rows)
