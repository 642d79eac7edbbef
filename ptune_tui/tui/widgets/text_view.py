"""A text of one's own, and what everybody answers to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input

from ptune_tui.tui.answer_views import answer_lines
from ptune_tui.tui.compare_state import AnswersState, AskedText
from ptune_tui.tui.widgets.paging import scroll_pages
from ptune_tui.tui.widgets.steady import Steady

HINT = (
    "Write a text below; Enter asks all lines that are ticked, one after the other. The models are "
    "loaded once, with the first text. Beside an answer stand its time and, for labels, how likely "
    "it and its rivals are."
)


class TextView(Vertical):
    """Answers, and the box to ask with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="view-text", classes="view")
        self._num_lines = 0
        self._texts: Sequence[AskedText] = ()
        self._state: AnswersState | None = None
        self._is_active = False

    def compose(self) -> ComposeResult:
        """The answers above the box."""
        with VerticalScroll(id="answers-box"):
            yield Steady("", id="answers")
        ask = Input(placeholder="Write a text, Enter asks", id="compare-ask")
        ask.cursor_blink = False
        yield ask

    @property
    def plain(self) -> str:
        """The texts, their answers below each other; empty where nothing was asked."""
        lines = answer_lines(self._texts, self._state, self._is_active)
        return "\n".join(line.plain for line in lines)

    def on_resize(self) -> None:
        """Answers stand beside each other as far as there is room."""
        self.call_after_refresh(self._draw)

    def action_page(self, pages: int) -> None:
        """Scroll the answers while one writes."""
        scroll_pages(self.query_one("#answers-box", VerticalScroll), pages)

    def show(self, texts: Sequence[AskedText], state: AnswersState | None, is_active: bool) -> None:
        """Draw the answers; the box scrolls along unless the user has scrolled up.

        Args:
            texts (Sequence[AskedText]): What was asked.
            state (AnswersState | None): Of the worker that answers.
            is_active (bool): Whether it still works.
        """
        self._texts, self._state, self._is_active = texts, state, is_active
        self._draw()

    def _draw(self) -> None:
        box = self.query_one("#answers-box", VerticalScroll)
        width = box.scrollable_content_region.width
        lines = list(answer_lines(self._texts, self._state, self._is_active, width))
        text = Content("\n").join(lines) if lines else Content.styled(HINT, "dim")
        self.query_one("#answers", Steady).show_text(text)
        is_at_end = box.max_scroll_y - box.scroll_y <= 3
        if len(lines) != self._num_lines and is_at_end:
            self.call_after_refresh(box.scroll_end, animate=False)
        self._num_lines = len(lines)
