"""A line for a path: Tab and Right complete it as a shell does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.suggester import Suggester
from textual.widgets import Input

from ptune_tui.tui.path_completion import Completion, complete
from ptune_tui.tui.wording import end_of


class PathSuggester(Suggester):
    """Offers what all candidates have in common, behind the cursor.

    Args:
        look (Callable[[str], Completion]): Completes a text; called off the event loop.
        tell (Callable[[Completion], None]): Called with what was found.
    """

    def __init__(
        self, look: Callable[[str], Completion], tell: Callable[[Completion], None]
    ) -> None:
        super().__init__(use_cache=False, case_sensitive=True)  # folders change
        self._look = look
        self._tell = tell

    async def get_suggestion(self, value: str) -> str | None:
        """How a text goes on for certain; None where nothing is certain."""
        completion = await asyncio.to_thread(self._look, value)
        self._tell(completion)
        return completion.text if completion.text != value else None


class PathInput(Input):
    """The line.

    Args:
        value (str): What it holds at first.
        is_offered (Callable[[Path], bool]): Whether a file is of a wanted type.
        names (Sequence[str]): What may be written besides paths.
        placeholder (str): Shown while it is empty.
        id (str | None): Of the widget.
        keeps_text (bool): Whether one writes on behind the text, in place of anew.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "Complete")]

    class Completed(Message):
        """Other candidates than before.

        Args:
            completion (Completion): What was found.
        """

        def __init__(self, completion: Completion) -> None:
            super().__init__()
            self.completion = completion

    def __init__(
        self,
        value: str,
        is_offered: Callable[[Path], bool],
        names: Sequence[str] = (),
        *,
        placeholder: str = "",
        id: str | None = None,  # noqa: A002 - Textual's own name
        keeps_text: bool = False,
    ) -> None:
        super().__init__(
            value,
            placeholder=placeholder,
            id=id,
            compact=True,
            select_on_focus=not keeps_text,
            suggester=PathSuggester(self._complete, self._tell),
        )
        self._is_offered = is_offered
        self._names = names
        self.cursor_blink = False

    def render_line(self, y: int) -> Strip:
        """A path that is too long shows its end, with an ellipsis before it, until one writes."""
        width = self.scrollable_content_region.width
        if y != 0 or self.has_focus or cell_len(self.value) <= width:
            return super().render_line(y)
        return Strip([Segment(end_of(self.value, width))]).apply_style(self.rich_style)

    def on_input_changed(self) -> None:
        """An empty line is not asked for, so that its candidates would stay."""
        if not self.value:
            self._tell(Completion("", ""))

    @work(exclusive=True, group="complete")
    async def action_complete(self) -> None:
        """Complete what is written; go on where nothing is left to be said."""
        completion = await asyncio.to_thread(self._complete, self.value)
        if completion.written != self.value or not self.has_focus:
            return
        if completion.text != self.value:
            self.value = completion.text
            self.cursor_position = len(self.value)
        elif not completion.is_open:
            self.screen.focus_next()

    def _complete(self, written: str) -> Completion:
        return complete(written, self._is_offered, self._names)

    def _tell(self, completion: Completion) -> None:
        """Say what was found, unless something else was written meanwhile."""
        if completion.written == self.value and self.has_focus:
            self.post_message(self.Completed(completion))
