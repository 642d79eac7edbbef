"""An export as it goes: its steps, how near each precision is to torch, its time, its size."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from ptune_tui.events import ParityMeasured, Stage
from ptune_tui.tui.export_state import ExportState
from ptune_tui.tui.progress import StageState
from ptune_tui.tui.widgets.stage_list import MARKS, STYLES
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.wording import bytes_text, seconds_text, share_text

_WORDS: dict[Stage, str] = {
    "load": "load model and prompt",
    "build": "write the graphs",
    "parity": "compare with torch",
    "write": "put in place",
}
_HEAD = f"  {'precision':<11}{'rel.err':>8}{'KL':>9}{'top-1':>9}{'texts':>7}{'answer':>9}"


class Checklist(Steady):
    """The steps and figures of an export."""

    def show(self, state: ExportState | None, now: float) -> None:
        """Draw them.

        Args:
            state (ExportState | None): The export; None for how to start one.
            now (float): Seconds since the epoch, for the running step.
        """
        if state is None:
            self.show_text(Content.styled("Start shows here what is done and measured.", "dim"))
        else:
            self.show_text(Content("\n").join(check_lines(state, now)))


def check_lines(state: ExportState, now: float) -> Iterator[Content]:
    """The lines of an export.

    Args:
        state (ExportState): The export.
        now (float): Seconds since the epoch.
    """
    for stage in state.task.stages.values():
        yield Content.styled(step_text(stage, now), STYLES[stage.status])
    if state.parities:
        yield Content.styled(_HEAD, "dim")
    for parity in state.parities:
        yield _parity_line(parity, state)
    yield from (Content.styled(line, "bold") for line in ending_lines(state))


def step_text(stage: StageState, now: float) -> str:
    """One step in words.

    Args:
        stage (StageState): Which.
        now (float): Seconds since the epoch.
    """
    words = [MARKS[stage.status], f"{_WORDS.get(stage.name, stage.name):<22}"]
    seconds = stage.seconds_at(now)
    if seconds:
        words.append(f"{seconds_text(seconds):>11}")
    if stage.status == "running" and stage.total:
        words.append(f"{stage.done}/{stage.total}")
    return " ".join([*words, stage.detail]).rstrip()


def _parity_line(parity: ParityMeasured, state: ExportState) -> Content:
    """One precision: what the comparison found, and what an answer takes where that is known."""
    times = state.done.seconds_per_answer if state.done else {}
    seconds = times.get(parity.precision)
    figures = (
        f"{parity.relative_error:>8.0e}{parity.kl_divergence:>9.0e}"
        f"{share_text(parity.top1_agreement):>9}"
        f"{f'{parity.identical_texts}/{parity.num_texts}':>7}"
        f"{'' if seconds is None else answer_time(seconds):>9}"
    )
    style = "$text-success" if parity.passed else "bold $text-error"
    mark = "✓" if parity.passed else "✗"
    is_chosen = state.done is not None and state.done.precision == parity.precision
    name = Content.styled(f"{parity.precision:<11}", "bold" if is_chosen else "")
    return Content.assemble((f"{mark} ", style), name, figures)


def ending_lines(state: ExportState) -> list[str]:
    """How it ended; nothing while it goes on, or where its error says it."""
    if state.is_cancelled and state.done is None:
        is_over = state.task.is_over
        return ["- cancelled; nothing was put in place" if is_over else "▸ cancelling..."]
    if state.done is None:
        return []
    answers = f"answers in {state.done.precision} · " if state.done.precision else ""
    return [f"✓ {answers}{bytes_text(state.done.num_bytes)} · {state.done.path}"]


def answer_time(seconds: float) -> str:
    """What an answer takes: `12 ms`, `1.4 s`."""
    return f"{1000 * seconds:.0f} ms" if seconds < 0.9995 else seconds_text(seconds)
