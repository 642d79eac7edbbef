"""The tables of a run: the one that stands for it, and the earlier ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ptune_tui.errors import DataError
from ptune_tui.results import EVALUATION_FILE, Evaluation, read_result, write_result
from ptune_tui.run_table import card_table_of, fuller_table

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


def keep_table(run: Path, evaluation: Evaluation, *, is_quick: bool) -> list[str]:
    """Let a table stand for its run and be in the adapter's card, unless a fuller one does.

    Args:
        run (Path): The run's folder.
        evaluation (Evaluation): The table.
        is_quick (bool): Whether it was made of a part of the rows, or without what stands beside.

    Returns:
        list[str]: What to say of it, in sentences.
    """
    from ptune_tui.model_cards import write_adapter_card

    path = run / EVALUATION_FILE
    fuller = fuller_table(run, evaluation) if is_quick else None
    if fuller is not None:
        return [
            f"not written: {path} has a fuller table of this prompt and data, "
            f"{fuller.num_rows} rows and {len(fuller.contenders)} lines."
        ]
    write_result(path, evaluation)
    write_adapter_card(run)
    omission = card_table_of(run).omission
    return [f"written: {path}", *([omission] if omission else [])]


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
