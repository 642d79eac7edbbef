"""The table of runs: which columns fit, what stands in them, which rows a filter leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptune_tui.results import Evaluation
from ptune_tui.runs import RunStatus, RunSummary
from ptune_tui.tui.wording import loss_text, seconds_text, share_text

ColumnName = Literal[
    "mark", "status", "model", "data", "method", "score", "steps", "age", "seconds", "name"
]

GLYPHS: dict[RunStatus, str] = {
    "running": "▸",
    "paused": "‖",
    "finished": "✓",
    "stopped": "□",
    "failed": "✗",
    "killed": "✗",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: Which.
        title: Its head.
        width: Cells it must have, the gap on its right included.
        most: Cells it takes where there is room.
    """

    name: ColumnName
    title: str
    width: int
    most: int


COLUMNS = (
    Column("mark", "", 3, 3),
    Column("status", "Status", 11, 11),
    Column("name", "Run", 20, 44),
    Column("model", "Model", 12, 28),
    Column("data", "Data", 12, 28),
    Column("method", "Method", 9, 11),
    Column("score", "Score (base)", 14, 17),
    Column("steps", "Steps", 10, 11),
    Column("seconds", "Took", 12, 14),
    Column("age", "Age", 7, 8),
)
USUAL_STEMS = ("train", "training", "data", "model")  # they tell nothing
LEFT_OUT_FIRST: tuple[ColumnName, ...] = ("seconds", "steps", "model", "name", "method", "data")


def fitting_columns(width: int) -> list[Column]:
    """The columns that a width holds, each at its width there.

    Args:
        width (int): Cells.
    """
    left_out: set[ColumnName] = set()
    for name in ("", *LEFT_OUT_FIRST):
        left_out.update(column.name for column in COLUMNS if column.name == name)
        chosen = [column for column in COLUMNS if column.name not in left_out]
        if sum(column.width for column in chosen) <= width:
            break
    return _widened(chosen, width)


def _widened(columns: Sequence[Column], width: int) -> list[Column]:
    """Give what is left over to the scores, then to all that can take it, a cell each in turn."""
    widths = {column.name: column.width for column in columns}
    spare = width - sum(widths.values())
    for column in columns:
        if column.name == "score":  # two losses and their name are wider than two shares
            more = max(0, min(spare, column.most - column.width))
            widths[column.name], spare = column.width + more, spare - more
    while spare > 0:
        growing = [column for column in columns if widths[column.name] < column.most][:spare]
        if not growing:
            break
        for column in growing:
            widths[column.name] += 1
        spare -= len(growing)
    return [Column(col.name, col.title, widths[col.name], col.most) for col in columns]


def cell_text(run: RunSummary, column: ColumnName, now: float, width: int | None = None) -> str:
    """What stands in a column.

    Args:
        run (RunSummary): The row.
        column (ColumnName): Which.
        now (float): Seconds since the epoch.
        width (int | None): Cells that there are; None for any number.
    """
    match column:
        case "mark":
            return ""
        case "status":
            return f"{GLYPHS[run.status]} {run.status}"
        case "name":
            return run.name
        case "model":
            return source_text(run.model)
        case "data":
            return source_text(run.data)
        case "method":
            return run.method
        case "score":
            whole = score_text(run)
            return whole if width is None or len(whole) <= width else best_text(run)
        case "steps":
            is_whole = run.step == run.max_steps
            return f"{run.step}" if is_whole else f"{run.step}/{run.max_steps}"
        case "seconds":
            return duration_text(run.seconds)
        case "age":
            return "-" if run.started is None else age_text(now - run.started)


def score_text(run: RunSummary) -> str:
    """The best score, and that of the base beside it: `91.4 % (82.4)`, `loss 1.31 (2.87)`."""
    if run.is_free_text:
        base = "" if run.base_loss is None else f"{run.base_loss:.2f}"
    else:
        base = "" if run.base_accuracy is None else f"{100 * run.base_accuracy:.1f}"
    return f"{best_text(run)} ({base})" if base else best_text(run)


def best_text(run: RunSummary) -> str:
    """The best score: the accuracy of labels, the loss of free text, which hardly ever matches."""
    if run.is_free_text:
        return "-" if run.best_loss is None else loss_text(run.best_loss)
    return "-" if run.best_accuracy is None else share_text(run.best_accuracy)


def best_words(run: RunSummary) -> str:
    """The same beside a run's name: `best 91.4 %`, `best loss 1.31`; empty where there is none."""
    return "" if best_text(run) == "-" else f"best {best_text(run)}"


def score_words(run: RunSummary) -> str:
    """Both scores: `91.4 % (base 82.4)`, `validation loss 1.31 (base 2.87)`; empty for none."""
    if best_text(run) == "-":
        return ""
    words = score_text(run).replace("(", "(base ")
    return f"validation {words}" if run.is_free_text else words


def source_text(source: str) -> str:
    """A short name of a model or of data: of a path its folder, `ag_news` or `ag_news/short`."""
    path = Path(source)
    is_path = path.is_absolute() or path.suffix in (".jsonl", ".csv", ".tsv", ".gguf")
    if not is_path:
        return source
    folder = path.parent.name
    if folder and path.stem in USUAL_STEMS:
        return folder
    return f"{folder}/{path.stem}" if folder else path.stem


def age_text(seconds: float) -> str:
    """How long ago, in one unit: `now`, `12 min`, `3 h`, `5 d`."""
    minutes = seconds / 60
    if minutes < 1:
        return "now"
    if minutes < 60:
        return f"{int(minutes)} min"
    return f"{int(minutes / 60)} h" if minutes < 48 * 60 else f"{int(minutes / 1440)} d"


def duration_text(seconds: float) -> str:
    """A duration in a column of its own: `-` where nothing was done."""
    return seconds_text(seconds) if seconds > 0 else "-"


def filtered(runs: Sequence[RunSummary], words: str, now: float) -> list[RunSummary]:
    """The runs in which every word stands, in whatever column.

    Args:
        runs (Sequence[RunSummary]): All of them.
        words (str): What to look for, in any case.
        now (float): Seconds since the epoch.
    """
    wanted = words.casefold().split()
    if not wanted:
        return list(runs)
    kept = []
    for run in runs:
        cells = [cell_text(run, column.name, now) for column in COLUMNS]
        text = "\n".join([*cells, run.model, run.data]).casefold()
        if all(word in text for word in wanted):
            kept.append(run)
    return kept


def table_word(evaluation: Evaluation, now: float, is_current: bool) -> str:
    """A table in a few words, to choose it by.

    Args:
        evaluation (Evaluation): The table.
        now (float): Seconds since the epoch.
        is_current (bool): Whether the run's prompt is still the one that it is of.
    """
    age = age_text(max(0.0, now - evaluation.made_at))
    num_lines = len(evaluation.contenders)
    parts = [
        "now" if age == "now" else f"{age} ago",
        source_text(evaluation.data),
        f"{evaluation.num_rows} rows",
        "1 line" if num_lines == 1 else f"{num_lines} lines",
    ]
    return " · ".join(parts if is_current else [*parts, "of an earlier prompt"])
