"""What lies in a folder, as the file browser shows it. Draws nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MAX_ENTRIES = 500  # that are looked at and listed; more are named by their beginnings


@dataclass(frozen=True)
class FolderEntry:
    """Something in a folder.

    Attributes:
        path: Where it is.
        is_folder: Whether it may be opened.
        is_whole: Whether it is a folder that is taken as it is.
        num_bytes: Of a file.
    """

    path: Path
    is_folder: bool
    is_whole: bool = False
    num_bytes: int = 0


@dataclass(frozen=True)
class FolderEntries:
    """What lies in a folder.

    Attributes:
        entries: Folders, then files.
        num_left_out: How many there are besides.
    """

    entries: list[FolderEntry]
    num_left_out: int = 0


def names_in(folder: Path, start: str = "") -> list[tuple[str, bool]]:
    """Names that begin so, each with whether it is a folder; hidden ones where a dot is written.

    Args:
        folder (Path): Where.
        start (str): How they begin.

    Raises:
        OSError: The folder cannot be read; an entry that cannot is left out.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            is_hidden = entry.name.startswith(".") and not start
            if is_hidden or not entry.name.startswith(start):
                continue
            try:
                found.append((entry.name, entry.is_dir()))
            except OSError:
                continue  # a link that leads in a circle
    return sorted(found, key=lambda each: each[0].lower())


def entries_of(
    folder: Path,
    is_offered: Callable[[Path], bool],
    is_whole: Callable[[Path], bool],
    start: str = "",
) -> FolderEntries:
    """The folders of a folder, then the files that are offered.

    Args:
        folder (Path): Which.
        is_offered (Callable[[Path], bool]): Whether a file is of a wanted type.
        is_whole (Callable[[Path], bool]): Whether a folder is taken as it is.
        start (str): How names begin; what is hidden is listed where that is a dot.

    Raises:
        OSError: It cannot be read; an entry that cannot is left out.
    """
    found = [(folder / name, is_folder) for name, is_folder in names_in(folder, start)]
    folders = [each for each in found if each[1]]
    files = [each for each in found if not each[1] and is_offered(each[0])]
    entries = []
    for path, is_folder in [*folders, *files][:MAX_ENTRIES]:
        try:
            entries.append(_entry(path, is_folder, is_whole))
        except OSError:
            continue  # a link to nothing, or a folder that may not be read
    return FolderEntries(entries, max(0, len(folders) + len(files) - MAX_ENTRIES))


def _entry(path: Path, is_folder: bool, is_whole: Callable[[Path], bool]) -> FolderEntry:
    if is_folder:
        return FolderEntry(path, True, is_whole(path))
    return FolderEntry(path, False, num_bytes=path.stat().st_size)
