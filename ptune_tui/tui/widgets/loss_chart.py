"""The loss of every step, or of the last ones; or the scores of the validations."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Literal

from ptune_tui.series import Point, Thinned
from ptune_tui.tui.run_state import RunState
from ptune_tui.tui.widgets.action_link import action_link
from ptune_tui.tui.widgets.curve import Curve

NUM_RECENT = 50
# Drawing it is most of a frame's time, for which a key has to wait.
SECONDS_BETWEEN_PICTURES = 2.0
MAX_POINTS = 2000  # of which as many are drawn as the width holds
View = Literal["all", "recent", "scores"]
VIEWS: tuple[View, ...] = ("all", "recent", "scores")
WORDS: dict[View, str] = {
    "all": "loss, all steps",
    "recent": f"loss, last {NUM_RECENT} steps",
    "scores": "validation accuracy, % against steps",
}
FREE_TEXT = "validation loss against steps"


class LossChart(Curve):
    """The curves of a run.

    Attributes:
        view: Which of them.
        in_tens: Whether the axis of the loss counts in powers of ten.
    """

    def __init__(self) -> None:
        super().__init__("After the first step.", id="chart")
        self.view: View = "all"
        self.in_tens = False
        self._key = ""
        self._words = WORDS
        self._losses: Sequence[Point] = ()
        self._thinned = Thinned(MAX_POINTS)
        self._scores: Sequence[Point] = ()
        self._best: int | None = None
        self._drawn: object = None
        self._drawn_at = -math.inf

    def on_mount(self) -> None:
        """Name the box."""
        self._name_it()

    def on_resize(self) -> None:
        """Take as many points as the new width holds."""
        self._draw()

    def show(self, run: RunState, key: str, *, at_once: bool = True) -> None:
        """Draw the curve of a run.

        Args:
            run (RunState): The run.
            key (str): The key that shows the next view.
            at_once (bool): Whether the last step must be seen; else it may wait for the next ones.
        """
        self._losses, self._scores = run.losses, run.validation_points
        self._words = WORDS | ({"scores": FREE_TEXT} if run.is_free_text else {})
        self._best = run.best.step if run.best else None
        self._key = key
        if at_once or time.monotonic() - self._drawn_at >= SECONDS_BETWEEN_PICTURES:
            self._draw()

    def show_next_view(self) -> None:
        """Show all steps, then the last ones, then the scores, as far as there are any."""
        self.view = self._next_view()
        self._draw()

    def toggle_scale(self) -> None:
        """Change between a plain and a logarithmic axis of the loss."""
        self.in_tens = not self.in_tens
        self._draw()

    def _next_view(self) -> View:
        there_is = {
            "all": True,
            "recent": len(self._losses) > NUM_RECENT,
            "scores": bool(self._scores),
        }
        number = VIEWS.index(self.view)
        return next(view for view in (*VIEWS[number + 1 :], *VIEWS) if there_is[view])

    def _name_it(self) -> None:
        is_log = self.in_tens and self.view != "scores"
        self.border_title = self._words[self.view] + (", log scale" if is_log else "")
        following = self._next_view()
        has_more = following != self.view and self._key
        self.border_subtitle = (
            action_link("screen.view", f"{self._key}: {self._words[following]}") if has_more else ""
        )

    def _draw(self) -> None:
        """Draw, unless the picture would be the same."""
        last = self._losses[-1] if self._losses else None
        looks = (self.view, self.in_tens, self.size, self.app.theme, self.charts, self._key)
        picture = (len(self._losses), last, tuple(self._scores), self._best, *looks)
        if picture == self._drawn or not self.is_mounted or self.size.width < 4:
            return
        self._drawn, self._drawn_at = picture, time.monotonic()
        self._name_it()
        if self.view == "scores":
            self._draw_scores()
        else:
            self._draw_losses()

    def _draw_losses(self) -> None:
        is_recent = self.view == "recent"
        chosen = self._losses[-NUM_RECENT:] if is_recent else self._thinned.follow(self._losses)
        first = chosen[0][0] if chosen else 0.0
        end = self._losses[-1][0] if chosen else 0.0
        if self.in_tens:
            chosen = [(step, math.log10(loss)) for step, loss in chosen if loss > 0]
        self.count_up_in_tens(self.in_tens)
        self.draw(chosen, first, max(first + 9, end + 0.01 * (end - first)))

    def _draw_scores(self) -> None:
        end = self._scores[-1][0] if self._scores else 0.0
        self.count_up_in_tens(False)
        self.draw(self._scores, 0.0, max(9.0, 1.01 * end), self._best)
