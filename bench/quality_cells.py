"""The stored cells of the quality table, one JSON file each, and the table they make."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from quality_settings import (
    BAG_OF_WORDS,
    BASE,
    FEW_SHOT,
    LORA,
    MAX_TRAINING_SECONDS,
    TASKS,
    Arithmetic,
    CellKey,
    Setting,
)

State = Literal["missing", "done", "stale", "trial", "over time"]

BEGIN_MARK, END_MARK = "<!-- quality table: begin -->", "<!-- quality table: end -->"
METRIC_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "bleu": "BLEU"}
METHOD_NAMES = {
    BASE: "base",
    FEW_SHOT: "base, examples in the prompt",
    LORA: "LoRA, same time",
    BAG_OF_WORDS: "bag of words",
}


class Cell(Struct, frozen=True, kw_only=True):
    """One measurement.

    Attributes:
        key: Which one.
        score: Of the task's metric; BLEU from 0 to 100.
        scores: Every metric that was computed, by name.
        num_rows: Rows scored.
        num_train_rows: Rows trained on, or None.
        training_seconds: From the first step to the last, validations between them included.
        steps: Optimiser steps taken.
        best_step: The step that was kept.
        tokens_per_second: Median over the steps; the rows' own tokens.
        peak_memory_bytes: Of the training process.
        evaluation_seconds: Of the scoring alone.
        computed_by: What scored it.
        settings: What it was made with.
        is_trial: Fewer steps or rows than the table asks for.
        commit: Of the code; `-changed` where files were changed.
        machine: Processor, cores and threads.
        versions: Of the packages that matter.
        date: Day.
    """

    key: CellKey
    score: float
    scores: dict[str, float]
    num_rows: int
    num_train_rows: int | None = None
    training_seconds: float | None = None
    steps: int | None = None
    best_step: int | None = None
    tokens_per_second: float | None = None
    peak_memory_bytes: int | None = None
    evaluation_seconds: float | None = None
    computed_by: str
    settings: dict[str, Setting]
    is_trial: bool = False
    commit: str
    machine: str
    versions: dict[str, str]
    date: str

    @property
    def is_over_time(self) -> bool:
        """Whether its training took longer than the table allows."""
        return self.training_seconds is not None and self.training_seconds > MAX_TRAINING_SECONDS


class CellFolder:
    """The folder of the cells.

    Args:
        path (Path): Where; made at the first cell.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, key: CellKey) -> Path:
        """Where a cell lies."""
        return self.path / f"{key.name}.json"

    def read(self, key: CellKey) -> Cell | None:
        """A stored cell, or None."""
        try:
            return msgspec.json.decode(self.file(key).read_bytes(), type=Cell)
        except FileNotFoundError:
            return None

    def write(self, cell: Cell) -> None:
        """Store a cell; whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        part = self.file(cell.key).with_suffix(".part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(cell), indent=1) + b"\n")
        part.replace(self.file(cell.key))

    def state(self, key: CellKey, settings: dict[str, Setting]) -> State:
        """What there is of a cell.

        Args:
            key (CellKey): Which one.
            settings (dict[str, Setting]): What it would be made with now.
        """
        cell = self.read(key)
        if cell is None:
            return "missing"
        if cell.is_trial:
            return "trial"
        if cell.settings != settings:
            return "stale"
        return "over time" if cell.is_over_time else "done"


def table(cells: Sequence[Cell]) -> str:
    """The cells as a Markdown table, one row a task and method.

    Args:
        cells (Sequence[Cell]): Any of them, in any order.
    """
    lines = [
        "| task | method | training | score | seeds | floor | training s | tokens/s | peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task_name in TASKS:
        groups: dict[tuple[str, Arithmetic], list[Cell]] = {}
        for cell in sorted(cells, key=lambda cell: (_order(cell.key), cell.key.seed)):
            if cell.key.task == task_name:
                groups.setdefault((cell.key.method, cell.key.arithmetic), []).append(cell)
        lines += [_line(group) for group in groups.values()]
    return "\n".join(lines)


def write_table(document: Path, cells: Sequence[Cell]) -> None:
    """Put the table between its two marks in a document.

    Raises:
        ValueError: A mark is missing.
    """
    text = document.read_text(encoding="utf-8")
    if BEGIN_MARK not in text or END_MARK not in text:
        raise ValueError(f"{document} needs the lines {BEGIN_MARK} and {END_MARK}")
    before, rest = text.split(BEGIN_MARK)
    behind = rest.split(END_MARK)[1]
    document.write_text(
        f"{before}{BEGIN_MARK}\n{provenance(cells)}\n\n{table(cells)}\n{END_MARK}{behind}",
        encoding="utf-8",
    )


def provenance(cells: Iterable[Cell]) -> str:
    """Commits, machines, versions and days of cells, in a sentence each."""
    kept = list(cells)
    parts = {
        "Commits": {cell.commit for cell in kept},
        "Machine": {cell.machine for cell in kept},
        "Versions": {f"{name} {number}" for cell in kept for name, number in cell.versions.items()},
        "Days": {cell.date for cell in kept},
    }
    return "\n".join(f"{name}: {', '.join(sorted(values))}." for name, values in parts.items())


def _order(key: CellKey) -> tuple[int, str]:
    """Ours first, then what stands beside them."""
    ours = list(TASKS[key.task].methods)
    others = [LORA, BAG_OF_WORDS, BASE, FEW_SHOT]
    position = [*ours, *others].index(key.method) if key.method in [*ours, *others] else 99
    return position, key.arithmetic


def _line(group: list[Cell]) -> str:
    first = group[0]
    task = TASKS[first.key.task]
    scores = [cell.score for cell in group]
    mean = statistics.fmean(scores)
    digits = 1 if task.metric == "bleu" else 3
    score = f"**{mean:.{digits}f}**" if first.key.is_ours else f"{mean:.{digits}f}"
    if len(group) > 1:
        score += f" ({min(scores):.{digits}f} to {max(scores):.{digits}f})"
    if any(cell.is_trial for cell in group):
        score += " trial"
    columns = [
        f"{first.key.task} {task.split}, {METRIC_NAMES[task.metric]}",
        METHOD_NAMES.get(first.key.method, f"`{first.key.method}`"),
        "" if first.training_seconds is None else first.key.arithmetic,
        score,
        str(len(group)),
        _floor(first.key, mean),
        _seconds(group),
        _largest([cell.tokens_per_second for cell in group], 1.0, ".0f"),
        _largest([cell.peak_memory_bytes for cell in group], 1e9, ".2f", " GB"),
    ]
    return f"| {' | '.join(columns)} |"


def _floor(key: CellKey, mean: float) -> str:
    training = TASKS[key.task].methods.get(key.method)
    if training is None or training.min_score is None:
        return ""
    verdict = "met" if mean >= training.min_score else f"missed by {training.min_score - mean:.3f}"
    return f"{training.min_score:.2f}: {verdict}"


def _seconds(group: list[Cell]) -> str:
    seconds = [cell.training_seconds for cell in group if cell.training_seconds is not None]
    if not seconds:
        return ""
    mark = " over time" if any(cell.is_over_time for cell in group) else ""
    return f"{max(seconds):.0f}{mark}"


def _largest(values: list[float | int | None], unit: float, style: str, name: str = "") -> str:
    known = [value for value in values if value is not None]
    return f"{max(known) / unit:{style}}{name}" if known else ""
