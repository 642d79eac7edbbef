"""`README.md` of an export: documentation, which a person may edit without losing the edits.

It is no part of what a manifest verifies. Its last line holds the hash of the lines above: a card
that still has it is one that nobody has edited, and only such a card is ever replaced.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

README_FILE = "README.md"
_SEAL = "<!-- Written by ptune, which replaces this card only while it is unedited: {} -->\n"
_SEALED = re.compile(
    re.escape(_SEAL).replace(re.escape("{}"), "([0-9a-f]{64})") + r"\Z", re.MULTILINE
)


def sealed(text: str) -> str:
    """A card with its last line.

    Args:
        text (str): The card; ends with a line break.
    """
    return text + _SEAL.format(_hash(text))


def may_replace(path: Path) -> bool:
    """Whether a card is not there, or is as it was written.

    Args:
        path (Path): Where it would be.
    """
    if not path.is_file():
        return not path.exists()
    text = path.read_bytes().decode("utf-8", errors="replace")
    found = _SEALED.search(text)
    return found is not None and found[1] == _hash(text[: found.start()])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
