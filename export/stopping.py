"""Stop strings in a stream of text: what may still become one is held back."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Lets text through up to the first stop string.

    Args:
        strings (Sequence[str]): The stop strings; none of them is ever shown.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self.strings = [string for string in strings if string]
        self.is_stopped = False
        self._held = ""

    def feed(self, piece: str) -> str:
        """The text that may be shown now."""
        if self.is_stopped:
            return ""
        text = self._held + piece
        found = [place for string in self.strings if (place := text.find(string)) >= 0]
        if found:
            self.is_stopped, self._held = True, ""
            return text[: min(found)]
        length = max((self._overlap(text, string) for string in self.strings), default=0)
        self._held = text[len(text) - length :]
        return text[: len(text) - length]

    def rest(self) -> str:
        """What was held back, once no more text comes."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(text: str, string: str) -> int:
        """Length of the longest end of the text that begins the string."""
        lengths = range(min(len(text), len(string) - 1), 0, -1)
        return next((length for length in lengths if text.endswith(string[:length])), 0)
