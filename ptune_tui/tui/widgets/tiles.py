"""The figures of the last step, side by side."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Grid
from textual.content import Content

from ptune_tui.tui.run_state import RunState
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.wording import bytes_text, rate_text, seconds_text

_WIDTH = 11  # cells of a tile at 80, with a gap behind them
NAMES = ("step", "loss", "learning rate", "tokens/s", "time left", "peak memory")


class Tiles(Grid):
    """Six figures."""

    def compose(self) -> ComposeResult:
        """One text a figure."""
        for _ in NAMES:
            yield Steady("", classes="tile")

    def show(self, state: RunState | None) -> None:
        """Draw the figures of a run; dashes where there is no step yet."""
        values = figures(state) if state else ("-",) * len(NAMES)
        for tile, name, value in zip(
            self.query(".tile").results(Steady), NAMES, values, strict=True
        ):
            tile.show_text(Content.assemble((name, "dim"), "\n", (value, "bold")))


def figures(state: RunState) -> tuple[str, ...]:
    """The values, in the order of `NAMES`."""
    step = state.step
    if step is None:
        return ("-",) * len(NAMES)
    is_known = state.is_stepping and not state.task.is_over
    left = seconds_text(step.eta_seconds) if is_known else "-"
    steps = f"{step.step}/{step.max_steps}"
    return (
        steps if len(steps) <= _WIDTH else str(step.step),  # the bar on top has both
        f"{step.loss:.4f}",
        rate_text(step.learning_rate),
        f"{step.tokens_per_second:,.0f}",
        left,
        bytes_text(step.peak_memory_bytes),
    )
