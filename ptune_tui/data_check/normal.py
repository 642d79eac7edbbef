"""Texts without what a reader overlooks: case, spaces, punctuation, forms of the same letter."""

from __future__ import annotations

import unicodedata

# They carry meaning between numbers and names, so `3*4` stays another text than `3/4`.
_KEPT = frozenset("*/%#&@\\")
# Apostrophes vanish, other punctuation parts words: `don't` is `dont`, `top-up` is `top up`.
_APOSTROPHES = "'’‘ʼ`´"
# All punctuation lies in these blocks once compatibility forms are folded.
_LAST_PUNCTUATION = 0x3100


def _table() -> dict[int, str | None]:
    table: dict[int, str | None] = {
        code: " "
        for code in range(_LAST_PUNCTUATION)
        if unicodedata.category(chr(code)).startswith("P") and chr(code) not in _KEPT
    }
    return table | {ord(apostrophe): None for apostrophe in _APOSTROPHES}


_TABLE = _table()


def normalise(text: str) -> str:
    """The text in lower case, without punctuation, with single spaces.

    A text of nothing but punctuation stays as it is, so that `?!` and `...` are not the same.
    """
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.translate(_TABLE).split()) or text
