"""The data sets that one may choose from, and what is known of each. Draws nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

import ptune_tui
from ptune_tui.config import DataConfig
from ptune_tui.paths import data_sets_folder, runs_folder
from ptune_tui.reading.source import is_here
from ptune_tui.runs import run_folders
from ptune_tui.tasks import TrainTask, read_task
from ptune_tui.tui.data_look import DataLook, look_at
from ptune_tui.tui.fields import builtin_sets
from ptune_tui.tui.path_completion import is_data_file

Origin = Literal["built in", "used before", "in this folder", "fetched before"]

MAX_RUNS = 30  # whose data is offered again
MAX_FILES = 12  # of the working folder
SHOWN_LABELS = 8


@dataclass(frozen=True)
class DataRow:
    """A data set in the list.

    Attributes:
        source: What `--data` takes.
        origin: Why it is offered.
        note: What it is, where that is known.
    """

    source: str
    origin: Origin
    note: str = ""


def data_rows() -> list[DataRow]:
    """Built-in sets, those of earlier runs, files of this folder, fetched sets. Reads folders."""
    rows: dict[str, DataRow] = {}
    for row in (*_builtin(), *_used(), *_in_this_folder(), *_fetched()):
        rows.setdefault(row.source, row)
    return list(rows.values())


def describe_data(data: DataConfig, *, is_validation: bool = False) -> list[str]:
    """What is known of a data set, a sentence each. Reads files; no network.

    Args:
        data (DataConfig): Which, and what the user says of its columns.
        is_validation (bool): Whether it is to be validated by, not to be trained on.
    """
    return look_lines(look_at(data, is_validation=is_validation))


def look_lines(look: DataLook) -> list[str]:
    """What a look found, a sentence each.

    Args:
        look (DataLook): The look.
    """
    lines = []
    if look.problem is not None:
        lines += [f"✗ {look.problem.message}", look.problem.hint]
    if look.num_rows:
        rows = "row" if look.num_rows == 1 else "rows"
        more = " before it" if look.problem else "" if look.is_whole else ", and more"
        lines.append(f"{look.num_rows:,} {rows}{more}; {look.shape}")
        lines += [f"validation: {look.validation}"] if look.validation else []
        lines.append(_answers(look))
    if look.columns:
        lines.append("columns of the first row:")
        lines += [f"  {name}: {value}" for name, value in look.columns.items()]
    return lines


def _answers(look: DataLook) -> str:
    if look.labels is None:
        return "answers: free text"
    shown = ", ".join(f"{label} {number:,}" for label, number in look.labels[:SHOWN_LABELS])
    more = ", ..." if len(look.labels) > SHOWN_LABELS else ""
    return f"{len(look.labels)} labels: {shown}{more}"


def _builtin() -> Iterator[DataRow]:
    folder = Path(ptune_tui.__file__).parent / "builtin_data"
    for name in reversed(builtin_sets()):
        about = msgspec.toml.decode((folder / name / "task.toml").read_bytes())["about"]
        yield DataRow(name, "built in", about)


def _used() -> Iterator[DataRow]:
    """What earlier runs were trained on, the latest first, as far as it is still there."""
    try:
        folders = sorted(run_folders(runs_folder()), key=lambda folder: folder.name, reverse=True)
    except OSError:
        return
    for folder in folders[:MAX_RUNS]:
        try:
            task = read_task(folder)
            is_there = isinstance(task, TrainTask) and is_here(task.config.data.train)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue  # a run that is being deleted, damaged or of another version
        if isinstance(task, TrainTask) and is_there:
            yield DataRow(task.config.data.train, "used before")


def _in_this_folder() -> Iterator[DataRow]:
    try:
        entries = sorted(entry for entry in Path.cwd().iterdir() if is_data_file(entry))
    except OSError:
        return
    for entry in entries[:MAX_FILES]:
        if entry.is_file() and os.access(entry, os.R_OK):
            yield DataRow(entry.name, "in this folder")


def _fetched() -> Iterator[DataRow]:
    """Sets of the hub that lie in the cache."""
    try:
        names = sorted(entry.name for entry in data_sets_folder().iterdir())
    except OSError:
        return
    for name in names:
        if not name.startswith("."):
            whole, mark, split = name.partition("--split-")
            source = whole.replace("--", "/") + (f":{split}" if mark else "")
            yield DataRow(source, "fetched before")
