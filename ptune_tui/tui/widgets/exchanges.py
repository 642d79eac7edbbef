"""All exchanges of a chat, one below the other; the end of the last one is followed."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from ptune_tui.conversation import Answered, Piece, Ready
from ptune_tui.tui.widgets.exchange import Exchange

ASK = "Write a text below; Enter sends it to the tuned model, then to the base."


class Exchanges(VerticalScroll):
    """What was asked and answered.

    Attributes:
        last: What was asked last; None where nothing was.
    """

    def __init__(self) -> None:
        super().__init__(id="exchanges")
        self.last: Exchange | None = None
        self._follows = True

    def compose(self) -> ComposeResult:
        """What to do, until something was asked."""
        yield Static(ASK, id="ask-hint", markup=False)

    @property
    def answer(self) -> str:
        """The tuned model's last answer that is there, be it of an earlier question; else ""."""
        said = (exchange.tuned_text for exchange in reversed(self.query(Exchange)))
        return next((text for text in said if text), "")

    async def begin(self, question: str, ready: Ready) -> None:
        """Show a question below the others.

        Args:
            question (str): What the user wrote.
            ready (Ready): Of the child that answers.
        """
        self.last = Exchange(question, ready.prompt, ready.precision)
        self.query_one("#ask-hint").display = False
        self._follows = True
        await self.mount(self.last)
        self.scroll_end(animate=False)

    def add_piece(self, piece: Piece) -> None:
        """Write a piece of an answer to the last question.

        Args:
            piece (Piece): The child's word.
        """
        assert self.last is not None
        self.last.box(piece.speaker).add_piece(piece.text, piece.num_tokens)
        self.call_after_refresh(self._follow)

    def finish(self, answer: Answered) -> None:
        """Show a whole answer to the last question.

        Args:
            answer (Answered): The child's word.
        """
        assert self.last is not None
        self.last.box(answer.speaker).finish(answer)
        self.call_after_refresh(self._follow)

    def clear(self) -> None:
        """Forget all of them."""
        self.last = None
        self.query(Exchange).remove()
        self.query_one("#ask-hint").display = True

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Whoever scrolls up stays there; at the end the answer is followed again."""
        super().watch_scroll_y(old_value, new_value)
        is_at_end = new_value >= self.max_scroll_y
        self._follows = is_at_end or (self._follows and new_value >= old_value)

    def _follow(self) -> None:
        """Show the end of what was just written, unless the user has scrolled up."""
        if self._follows:
            self.scroll_end(animate=False, immediate=True)
