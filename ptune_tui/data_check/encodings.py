"""Texts that were damaged on the way, and characters that nobody sees."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.report import Code
from ptune_tui.data_check.wording import around, character
from ptune_tui.rows import Row

_LOST = "\ufffd"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Joiners (U+200C, U+200D) belong to Persian, Hindi and emoji, and stay.
_INVISIBLE = re.compile("[\u00ad\u180e\u200b\u2060\ufeff]")


class EncodingFinder:
    """Looks for damage in prompts and responses.

    Args:
        findings (Findings): Takes what is found.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def look(self, batch: Batch) -> None:
        """Look at some rows."""
        for index, row in enumerate(batch.rows):
            for name, text in (("prompt", row.prompt), ("response", row.response)):
                if not (text.isascii() and text.isprintable()):
                    self._look(batch, index, row, name, text)

    def _look(self, batch: Batch, index: int, row: Row, name: str, text: str) -> None:
        for code, message in faults(text):
            self._findings.add(code, batch.split, batch.first + index, row, f"{name}: {message}")


def faults(text: str) -> Iterator[tuple[Code, str]]:
    """What is odd about a text, each kind once, in a sentence."""
    repaired = text if text.isascii() else decoded_rightly(text)
    if repaired != text:
        pairs = zip(text, repaired, strict=False)
        start = next((place for place, (one, other) in enumerate(pairs) if one != other), 0)
        yield "mojibake", f"{around(text, start, start)} is {around(repaired, start, start)}."
    if match := _CONTROL.search(repaired):
        where = around(repaired, *match.span())
        yield "control-character", f"{character(match[0])} in {where}."
    if text.isascii():
        return
    if (position := text.find(_LOST)) >= 0:
        where = around(text, position, position + 1)
        yield "replacement-character", f"{text.count(_LOST)} x U+FFFD, in {where}."
    if match := _INVISIBLE.search(text):
        yield "invisible-character", f"{character(match[0])} in {around(text, *match.span())}."
    if not unicodedata.is_normalized("NFC", text):
        yield "normal-form", "a letter and its accent are two characters, elsewhere perhaps one."


def decoded_rightly(text: str) -> str:
    """A text whose bytes were decoded with the wrong encoding, decoded with the right one."""
    import ftfy  # a tenth of a second that only texts beyond ASCII pay
    from ftfy import badness

    return ftfy.fix_encoding(text) if badness.is_bad(text) else text


def repair(text: str) -> str:
    """A text without what `faults` finds; lost characters stay lost."""
    if text.isascii() and text.isprintable():
        return text
    text = _CONTROL.sub("", decoded_rightly(text))
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
