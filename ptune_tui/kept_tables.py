"""The tables of a run: the one that stands for it, and the earlier ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ptune_tui.errors import DataError
from ptune_tui.results import EVALUATION_FILE, Evaluation, read_result, write_result

TABLES_FOLDER = "evaluations"


@dataclass(frozen=True)
class KeptTable:
    """A table in a run folder.

    Attributes:
        path: Its file.
        evaluation: The table.
    """

    path: Path
    evaluation: Evaluation


def add_table(run: Path, evaluation: Evaluation) -> Path:
    """Put a table beside the earlier ones of a run.

    Args:
        run (Path): The run's folder.
        evaluation (Evaluation): The table.
    """
    folder = run / TABLES_FOLDER
    folder.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(evaluation.made_at))
    path = folder / f"{stamp}.json"
    write_result(path, evaluation)
    return path


def keep_standing(run: Path) -> None:
    """Put the table that stands for a run beside the earlier ones, before another takes its place.

    Args:
        run (Path): The run's folder.
    """
    try:
        standing = read_result(run / EVALUATION_FILE, Evaluation)
    except DataError:
        return  # a damaged one is replaced, as it always was
    if standing is not None:
        add_table(run, standing)


def kept_tables(run: Path) -> tuple[list[KeptTable], list[str]]:
    """All tables of a run, the latest first, and what is wrong with those that cannot be read.

    Args:
        run (Path): The run's folder.
    """
    found: dict[float, KeptTable] = {}
    problems = []
    for path in _files(run):
        try:
            evaluation = read_result(path, Evaluation)
        except (DataError, OSError) as error:
            problems.append(str(error))
            continue
        if evaluation is not None:
            found.setdefault(evaluation.made_at, KeptTable(path, evaluation))
    return [found[made_at] for made_at in sorted(found, reverse=True)], problems


def _files(run: Path) -> Iterator[Path]:
    yield run / EVALUATION_FILE
    folder = run / TABLES_FOLDER
    if folder.is_dir():
        yield from folder.glob("*.json")
