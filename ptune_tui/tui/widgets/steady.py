"""A text that is drawn only when it is another one."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static


class Steady(Static):
    """A text that many polls show again and again."""

    _shown: Content | str | None = None

    @property
    def plain(self) -> str:
        """What stands there, without its colours."""
        return self._shown.plain if isinstance(self._shown, Content) else self._shown or ""

    def show_text(self, text: Content | str) -> None:
        """Draw a text, unless it is what stands there.

        Args:
            text (Content | str): A `str` is taken as it is, brackets and all.
        """
        if _parts(text) == _parts(self._shown):
            return
        takes_as_much = self._takes_as_much(text)
        self._shown = text
        self.update(Content(text) if isinstance(text, str) else text, layout=not takes_as_much)

    def _takes_as_much(self, text: Content | str) -> bool:
        """Whether a text needs the room of the one before: laying a screen out is half its cost."""
        before, now = _widths(self._shown or ""), _widths(text)
        width = self.styles.width
        if width is None or width.is_auto:
            return before == now
        room = self.content_size.width
        return len(before) == len(now) and max(*before, *now) <= room  # none is wrapped


def _widths(text: Content | str) -> list[int]:
    """Cells of each line."""
    return [cell_len(line) for line in (text if isinstance(text, str) else text.plain).split("\n")]


def _parts(text: Content | str | None) -> object:
    return (text.plain, text.spans) if isinstance(text, Content) else text
