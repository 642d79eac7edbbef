"""A text that is drawn only when it is another one."""

from __future__ import annotations

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
        self._shown = text
        self.update(Content(text) if isinstance(text, str) else text)


def _parts(text: Content | str | None) -> object:
    return (text.plain, text.spans) if isinstance(text, Content) else text
