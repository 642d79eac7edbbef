"""The columns of a run's training in another file, which may have other ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from ptune_tui.config import DataConfig
from ptune_tui.evaluation.columns import Columns
from ptune_tui.reading.records import iter_records

_NUM_LOOKED_AT = 100  # records: a field that none of them has is no column of the file


@dataclass(frozen=True)
class RunColumns:
    """How a file is read for a run.

    Attributes:
        config: As `recognise_rows` takes it.
        note: Which columns of training the file does not have; None where it has them.
    """

    config: DataConfig
    note: str | None


def columns_for_run(path: Path, trained: DataConfig, asked: Columns) -> RunColumns:
    """Columns by the names that are asked for, else by those of training, else recognised.

    Args:
        path (Path): What `iter_records` reads.
        trained (DataConfig): The run's.
        asked (Columns): What the user names for this file.

    Raises:
        DataError: A file is missing, or one of its first records cannot be read.
    """
    prompt = asked.prompt or trained.prompt_field
    response = asked.response or trained.response_field
    by_training = {
        name
        for name, named in ((prompt, asked.prompt), (response, asked.response))
        if name is not None and named is None
    }
    missing = list(_missing(path, by_training)) if by_training else []
    config = msgspec.structs.replace(
        trained,
        prompt_field=None if prompt in missing else prompt,
        response_field=None if response in missing else response,
        template=None if asked.prompt else trained.template,
    )
    if not missing:
        return RunColumns(config, None)
    names = " and ".join(f"`{name}`" for name in missing)
    return RunColumns(config, f"{path.name} has no {names}, as training had: it is recognised.")


def _missing(path: Path, names: set[str]) -> Iterator[str]:
    """Those of some names that no field of the first records has."""
    found: set[str] = set()
    for record in islice(iter_records(path), _NUM_LOOKED_AT):
        found |= record.fields.keys()
        if names <= found:
            return
    yield from sorted(names - found)
