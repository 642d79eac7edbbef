"""What is known of the run under the cursor, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from ptune_tui.events import EvaluationDone
from ptune_tui.results import ContenderScores, Evaluation
from ptune_tui.run_files import some_names
from ptune_tui.runs import AT_WORK, RunStatus, RunSummary
from ptune_tui.tasks import LOG_FILE
from ptune_tui.tui.run_look import Look
from ptune_tui.tui.run_rows import GLYPHS, age_text, source_text
from ptune_tui.tui.wording import bytes_text, one_line, rate_text, seconds_text, share_text

Tone = Literal["plain", "primary", "success", "warning", "error"]

STATUS_TONES: dict[RunStatus, Tone] = {
    "running": "primary",
    "paused": "warning",
    "finished": "success",
    "stopped": "warning",
    "failed": "error",
    "killed": "error",
}
KILLED = (
    "Its worker is gone and left no last word (killed, or out of memory or disk space). "
    "What it wrote last is in {log}."
)


@dataclass(frozen=True)
class Line:
    """One line about a run; it may wrap.

    Attributes:
        label: What it is about.
        text: What there is to say.
        tone: Its colour, by meaning.
    """

    label: str
    text: str
    tone: Tone = "plain"


class RunDetails(VerticalScroll):
    """A run, looked at closely."""

    _drawn: object = None

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static("", id="run-details-text")

    def show(self, summary: RunSummary | None, look: Look | None, now: float) -> None:
        """Draw a run, unless the same stands there.

        Args:
            summary (RunSummary | None): Its row; None where no row is shown.
            look (Look | None): None while it is read.
            now (float): Seconds since the epoch.
        """
        lines = (
            details(summary, look, now) if summary else [Line("", "No run is under the cursor.")]
        )
        picture = (lines, self.app.theme)
        if picture == self._drawn:
            return
        self._drawn = picture
        self.border_title = summary.name if summary else "no run"
        self.query_one(Static).update(self._grid(lines))

    def _grid(self, lines: list[Line]) -> Table:
        """Labels on the left, texts that wrap beside them."""
        colours = self.app.theme_variables
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=max(len(line.label) for line in lines), no_wrap=True)
        grid.add_column(ratio=1, overflow="fold")
        for line in lines:
            style = "" if line.tone == "plain" else colours[line.tone]
            grid.add_row(Text(line.label, style="dim"), Text(line.text, style=style))
        return grid


def details(summary: RunSummary, look: Look | None, now: float) -> list[Line]:
    """The lines about a run: how it stands and what went wrong first, its path last.

    Args:
        summary (RunSummary): Its row.
        look (Look | None): None while it is read.
        now (float): Seconds since the epoch.
    """
    lines = [_standing(summary, now)]
    if look is not None:
        lines += [*_problem(summary, look), *_notice(look), *_scores(look)]
        lines += [*_figures(look), *_settings(summary, look), *_files(look)]
    return [*lines, Line("path", str(summary.path))]


def _standing(summary: RunSummary, now: float) -> Line:
    words = [f"step {summary.step} of {summary.max_steps}"]
    if summary.started is not None:
        age = age_text(now - summary.started)
        words.append("started now" if age == "now" else f"started {age} ago")
    if summary.seconds > 0:
        verb = "for" if summary.status in AT_WORK else "took"
        words.append(f"{verb} {seconds_text(summary.seconds)}")
    status = f"{GLYPHS[summary.status]} {summary.status}"
    return Line("status", " · ".join([status, *words]), STATUS_TONES[summary.status])


def _problem(summary: RunSummary, look: Look) -> Iterator[Line]:
    failure = look.state.task.failure
    if failure is not None and summary.status in ("failed", "stopped"):
        yield Line("error", failure.message, "error")
        if failure.hint:
            yield Line("hint", failure.hint)
        if failure.log_path:
            yield Line("log", failure.log_path)
    elif summary.status == "killed":
        yield Line("error", KILLED.format(log=look.run / LOG_FILE), "error")
    if summary.num_unreadable_lines:
        yield Line("damage", f"{summary.num_unreadable_lines} lines of its events are unreadable.")


def _notice(look: Look) -> Iterator[Line]:
    """The last notice that is more than a choice that every run tells."""
    told = look.state.task.pinned
    if told:
        label = "notice" if len(told) == 1 else f"notice {len(told)}"
        yield Line(label, f"{told[-1].message} {told[-1].hint}".rstrip(), "warning")


def _scores(look: Look) -> Iterator[Line]:
    state = look.state
    if state.base is not None or state.tuned:
        best = state.best or (state.tuned[-1] if state.tuned else None)
        if state.is_free_text:
            yield _losses(state.base, best)
        parts = [f"base {share_text(state.base.accuracy)}"] if state.base else []
        parts += [f"best {share_text(best.accuracy)} at step {best.step}"] if best else []
        parts += [f"macro-F1 {share_text(best.macro_f1)}"] if best and best.macro_f1 else []
        name = "exact" if state.is_free_text else "accuracy"
        yield Line(name, ", ".join([*parts, _num_rows(best or state.base)]))
    if look.evaluation is not None:
        yield from _evaluation(look.evaluation)
    if look.damage:
        yield Line("ptune eval", look.damage, "warning")


def _losses(base: EvaluationDone | None, best: EvaluationDone | None) -> Line:
    """The validation losses of free text."""
    parts = [f"base {base.loss:.2f}"] if base and base.loss is not None else []
    has_best = best is not None and best.loss is not None
    parts += [f"best {best.loss:.2f} at step {best.step}"] if best and has_best else []
    return Line("loss", ", ".join([*parts, "on the validation rows"]))


def _num_rows(done: EvaluationDone | None) -> str:
    return f"{done.num_rows} rows" if done else ""


def _evaluation(evaluation: Evaluation) -> Iterator[Line]:
    """What `ptune eval` found, a contender a line."""
    source = source_text(evaluation.data)
    yield Line("ptune eval", f"{source}, {evaluation.num_rows} rows, scores of 100")
    for contender in evaluation.contenders:
        yield Line("", f"{contender.title}: {_metrics(contender)}")


def _metrics(contender: ContenderScores) -> str:
    from ptune_tui.evaluation.table import NAMES, points  # with numpy, not before it is needed

    return ", ".join(f"{NAMES[metric.name]} {points(metric)[0]}" for metric in contender.metrics)


def _figures(look: Look) -> Iterator[Line]:
    step = look.state.step
    if step is not None:
        yield Line(
            "last step",
            f"loss {step.loss:.4f}, rate {rate_text(step.learning_rate)}, "
            f"{step.tokens_per_second:,.0f} tokens/s, peak {bytes_text(step.peak_memory_bytes)}",
        )


def _settings(summary: RunSummary, look: Look) -> Iterator[Line]:
    changed = [f"{name.split('.')[1]} {one_line(value)}" for name, value in look.settings]
    yield Line("settings", " · ".join(changed) or "all at their defaults")
    yield Line("model", summary.model)


def _files(look: Look) -> Iterator[Line]:
    parts = [f"{name} {bytes_text(size)}" for name, size in look.part_bytes]
    yield Line("files", " · ".join([*parts, f"all {bytes_text(look.num_bytes)}"]))


def belongings(look: Look | None) -> str:
    """What goes with a run that is deleted.

    Args:
        look (Look | None): The run; None where it was not read yet, or cannot be.
    """
    if look is None:
        return "Its prompt, checkpoints and events go with it."
    run, files = look.run, look.files
    size = bytes_text(files.num_bytes)
    parts = {path.relative_to(run).parts[0] for path in files.paths if _is_in_folder(path, run)}
    names = ", ".join(sorted(parts)) or "its events"
    if not files.foreign:
        return f"All its files go with it, {size}: {names}."
    staying = some_names(files.foreign)
    return f"Its own files go with it, {size}: {names}. What else is there stays: {staying}."


def _is_in_folder(path: Path, run: Path) -> bool:
    return path.parent != run or path.is_dir()
