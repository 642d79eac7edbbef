"""Texts of unknown origin in Markdown: as code or as plain words, never as markup."""

from __future__ import annotations

import re


def code(text: str) -> str:
    """A text of unknown origin as Markdown's inline code, in one line.

    Args:
        text (str): Anything.
    """
    line = text.replace("\n", "\\n").replace("\r", "\\r") or " "
    fence = "`" * (_longest_run(line) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def block(text: str, language: str = "") -> str:
    """A text of unknown origin as a block of code.

    Args:
        text (str): Anything.
        language (str): What it is written in.
    """
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def plain(text: str) -> str:
    """A text of unknown origin as plain words of one line: nothing in it is Markdown or HTML.

    Args:
        text (str): Anything.
    """
    line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>#+|&~$])", r"\\\1", line)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
