"""The stages of a task, one a line: a tick, the seconds, and how far the running one is."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from ptune_tui.tui.progress import StageState, TaskProgress
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.wording import seconds_text

MARKS = {"waiting": "·", "running": "▸", "done": "✓", "failed": "✗", "left out": "-"}
STYLES = {"waiting": "dim", "running": "bold", "done": "", "failed": "bold", "left out": "dim"}


class StageList(Steady):
    """The stages."""

    def show(self, stages: Iterable[StageState], now: float, *, is_line: bool = False) -> None:
        """Draw the stages.

        Args:
            stages (Iterable[StageState]): In order.
            now (float): Seconds since the epoch, for the running ones.
            is_line (bool): Whether there is room for one line alone.
        """
        if is_line:
            self.show_text(Content(" ").join(map(_short_stage, stages)))
            return
        lines = [Content.styled(stage_text(stage, now), STYLES[stage.status]) for stage in stages]
        self.show_text(Content("\n").join(lines))


def _short_stage(stage: StageState) -> Content:
    mark = "‖" if stage.is_paused else MARKS[stage.status]
    return Content.styled(f"{mark} {stage.name}", STYLES[stage.status])


def waiting_sentence(progress: TaskProgress, now: float) -> str:
    """What goes on before there is a curve.

    Args:
        progress (TaskProgress): Of the run.
        now (float): Seconds since the epoch.
    """
    if progress.is_over:
        return "The run ended before its first step."
    if not progress.is_up:
        return "The worker starts: Python and torch take some seconds."
    running = next((stage for stage in progress.stages.values() if stage.status == "running"), None)
    if running is None or running.name == "train":
        return "After the first step."
    if running.name == "import":
        since = seconds_text(running.seconds_at(now))
        return f"The worker starts: importing {running.detail} ({since})."
    count = f" ({running.done} of {running.total})" if running.total else ""
    return f"{running.name}: {running.detail or '...'}{count}"


def stage_text(stage: StageState, now: float) -> str:
    """One stage in words.

    Args:
        stage (StageState): Which.
        now (float): Seconds since the epoch.
    """
    mark = "‖" if stage.is_paused else MARKS[stage.status]
    words = [mark, f"{stage.name:<9}"]
    seconds = stage.seconds_at(now)
    if seconds or (stage.status == "running" and stage.started is not None):
        words.append(f"{seconds_text(seconds):>10}")
    if stage.is_paused:
        words.append("paused")
    elif stage.status == "running" and stage.total and " of " not in stage.detail:
        words.append(f"{stage.done}/{stage.total}")
    if stage.num_passes > 1 and stage.status == "done" and stage.name == "evaluate":
        words.append(f"{stage.num_passes} times")
    elif stage.detail:
        words.append(stage.detail)
    return " ".join(words)
