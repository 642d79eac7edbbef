"""How a half-written path may go on, as a shell completes it. Draws nothing; reads folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptune_tui.reading.formats import KINDS, kind_of
from ptune_tui.tui.folder_entries import names_in

PathKind = Literal["model", "data", "folder"]


def is_model_file(path: Path) -> bool:
    """Whether a file is one that a model may be in."""
    return path.suffix.lower() == ".gguf"


def is_data_file(path: Path) -> bool:
    """Whether a file is of a type that is read."""
    return kind_of(path) in KINDS


# Which files are offered beside folders.
OFFERED: dict[PathKind, Callable[[Path], bool]] = {
    "model": is_model_file,
    "data": is_data_file,
    "folder": lambda _: False,
}


@dataclass(frozen=True)
class Completion:
    """How a text may go on.

    Attributes:
        written: The text.
        text: The same, with all that every candidate has in common.
        candidates: Names that it may become; those of folders end in a slash.
        is_there: Whether it is one of them already.
    """

    written: str
    text: str
    candidates: tuple[str, ...] = ()
    is_there: bool = True

    @property
    def is_open(self) -> bool:
        """Whether more has to be written before it is clear what is meant."""
        return len(self.candidates) > 1 and not self.is_there


def complete(
    written: str, is_offered: Callable[[Path], bool], names: Sequence[str] = ()
) -> Completion:
    """Complete a path, or one of some names. Not for the event loop.

    Args:
        written (str): As far as it is written.
        is_offered (Callable[[Path], bool]): Whether a file is of a wanted type.
        names (Sequence[str]): What may be written besides paths.
    """
    known = [name for name in names if written and name.startswith(written)]
    folder, start = written_parts(written)
    if written == "~" or start == "..":
        return Completion(written, f"{written}/", (f"{start}/",))
    lead = written[: len(written) - len(start)]
    found = _endings(folder, start, is_offered) if written else []
    wholes = [*known, *(lead + name for name in found)]
    return Completion(
        written,
        os.path.commonprefix(wholes) or written,  # noqa: RUF071 - of characters, not of folders
        (*known, *found),
        not start or written in wholes or f"{written}/" in wholes,
    )


def written_parts(written: str) -> tuple[str, str]:
    """The folder that is written, `.` where there is none, and the beginning of a name in it.

    Args:
        written (str): A path as far as it is written.
    """
    cut = max(written.rfind("/"), written.rfind(os.sep)) + 1
    return written[:cut] or ".", written[cut:]


def _endings(folder: str, start: str, is_offered: Callable[[Path], bool]) -> list[str]:
    """Names of a folder that begin so; none where there is no such folder."""
    try:
        path = Path(folder).expanduser()
        found = names_in(path, start)
    except (OSError, RuntimeError, ValueError):  # no folder, no such user, a null byte
        return []
    return [
        f"{name}/" if is_folder else name
        for name, is_folder in found
        if is_folder or is_offered(path / name)
    ]


def listed(candidates: Sequence[str], width: int) -> str:
    """As many names as a line takes, and how many more there are.

    Args:
        candidates (Sequence[str]): The names.
        width (int): Columns of the line.
    """
    line = ""
    for number, name in enumerate(candidates):
        longer = f"{line}  {name}" if line else name
        num_left = len(candidates) - number - 1
        more = f"  and {num_left:,} more" if num_left else ""
        if line and len(longer) + len(more) > width:
            return f"{line}  and {num_left + 1:,} more"
        line = longer
    return line
