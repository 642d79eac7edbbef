"""All exchanges of a chat, one below the other; the last one is answered, and is scrolled along."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from ptune_tui.conversation import Answered, Piece, Ready
from ptune_tui.tui.widgets.exchange import Exchange

ASK = "Write a text below; Enter sends it to the tuned model, then to the base."
NEAR_THE_END = 3  # lines


class Exchanges(VerticalScroll):
    """What was asked and answered.

    Attributes:
        last: What was asked last; None where nothing was.
    """

    def __init__(self) -> None:
        super().__init__(id="exchanges")
        self.last: Exchange | None = None

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
        await self.mount(self.last)
        self.scroll_end(animate=False)

    def add_piece(self, piece: Piece) -> None:
        """Write a piece of an answer to the last question.

        Args:
            piece (Piece): The child's word.
        """
        assert self.last is not None
        self._follow()
        self.last.box(piece.speaker).add_piece(piece.text, piece.num_tokens)

    def finish(self, answer: Answered) -> None:
        """Show a whole answer to the last question.

        Args:
            answer (Answered): The child's word.
        """
        assert self.last is not None
        self._follow()
        self.last.box(answer.speaker).finish(answer)

    def clear(self) -> None:
        """Forget all of them."""
        self.last = None
        self.query(Exchange).remove()
        self.query_one("#ask-hint").display = True

    def _follow(self) -> None:
        """Scroll along with what is written next, until the question stands on top.

        Whoever has scrolled elsewhere stays there.
        """
        if self.max_scroll_y - self.scroll_y <= NEAR_THE_END:
            self.call_after_refresh(self._scroll_along)

    def _scroll_along(self) -> None:
        if self.last is not None:
            top = self.last.virtual_region.y - self.styles.padding.top
            self.scroll_to(y=max(self.scroll_y, top), animate=False)
