"""What a user may call a data set, and the files that it stands for.

PATH of a file or folder, FOLDER:SPLIT, or a hub id: OWNER/NAME, OWNER/NAME/PART, each with :SPLIT.
"""

from __future__ import annotations

import re
from pathlib import Path

from ptune_tui.errors import DataError
from ptune_tui.reading import hub_sets
from ptune_tui.reading.folder import splits_of
from ptune_tui.reading.formats import kind_of
from ptune_tui.reading.splits import TRAINING, VALIDATION

_FILE_ENDING = re.compile(r"\.[a-z]{2,7}")
_SPLIT_NAME = re.compile(r"[\w.-]+")


def files_of(name: str) -> list[Path]:
    """The files of one split.

    Args:
        name (str): As a user writes it.

    Raises:
        DataError: There is no such data set, or it has several splits and none is named.
        UsageError: It is on the hub, and the package for that is not installed.
        ResourceError: It is on the hub, which cannot be reached.
    """
    whole, split = parted(name)
    if Path(whole).is_file():
        return [Path(whole)]
    found = _splits(whole, split)
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    if split is None:
        raise DataError(
            f"{name} has the splits {_listed(found)}.", f"Name one: {name}:{next(iter(found))}"
        )
    if split not in found:
        raise DataError(f"{whole} has no split `{split}`.", f"It has {_listed(found)}.")
    return found[split]


def training_split(name: str) -> str:
    """The data set whose rows are trained on: of several splits the one that is called so.

    Args:
        name (str): What a user wants to train on.

    Raises:
        DataError: As `files_of`.
    """
    return _one_of(name, (TRAINING,)) or name


def validation_split(name: str) -> str | None:
    """The split that belongs to a data set for validation; None where it has none.

    Args:
        name (str): What a user wants to train on.

    Raises:
        DataError: As `files_of`.
    """
    return _one_of(name, VALIDATION)


def parted(name: str) -> tuple[str, str | None]:
    """A name without its split, and the split; a path that is there is never cut."""
    whole, mark, split = name.rpartition(":")
    if not mark or Path(name).exists() or not _SPLIT_NAME.fullmatch(split):
        return name, None
    if Path(whole).is_file():
        return name, None  # a file has no splits, and this is no name on the hub
    return (whole, split) if Path(whole).is_dir() or hub_sets.is_hub_name(whole) else (name, None)


def absolute(name: str) -> str:
    """The same data set for a process in another folder; what is not on this disk as it is."""
    whole, split = parted(name)
    if not Path(whole).exists():
        return name
    return str(Path(whole).absolute()) + ("" if split is None else f":{split}")


def is_known(name: str) -> bool:
    """Whether a name stands for something on this disk, or may stand for something on the hub."""
    return is_here(name) or _may_be_on_hub(parted(name)[0])


def require_known(name: str) -> None:
    """Refuse a name that stands for nothing, on this disk or the hub, before anything is read.

    Args:
        name (str): As a user writes it.

    Raises:
        DataError: There is no such data set.
    """
    if not is_known(name):
        raise _no_such_file(parted(name)[0])


def is_here(name: str) -> bool:
    """Whether a data set can be read without the network."""
    whole, split = parted(name)
    return Path(whole).exists() or hub_sets.cached(whole, split) is not None


def _one_of(name: str, wanted: tuple[str, ...]) -> str | None:
    whole, split = parted(name)
    if split is not None or Path(whole).is_file():
        return None
    found = _splits(whole, None)
    return next((f"{whole}:{each}" for each in wanted if each in found), None)


def _splits(whole: str, split: str | None) -> dict[str, list[Path]]:
    if Path(whole).is_dir():
        return splits_of(Path(whole))
    if hub_sets.cached(whole, split) is not None or _may_be_on_hub(whole):
        return splits_of(hub_sets.fetch(whole, split))
    raise _no_such_file(whole)


def _no_such_file(whole: str) -> DataError:
    return DataError(
        f"There is no data file {whole}.",
        "Give a path, a built-in set (support_inbox or home_commands), or a hub id: owner/name.",
    )


def _may_be_on_hub(whole: str) -> bool:
    """Whether a name reads like a hub id.

    `data/reviews`, where a folder `data` is here, is a path with a slip of the pen.
    """
    is_path = _is_file_name(whole) or Path(Path(whole).parts[0]).exists()
    return hub_sets.is_hub_name(whole) and not is_path


def _is_file_name(name: str) -> bool:
    """Whether a name ends like a file's, so that a mistyped path is not looked for on the hub."""
    return _FILE_ENDING.fullmatch(kind_of(Path(name))) is not None


def _listed(found: dict[str, list[Path]]) -> str:
    return ", ".join(f"`{split or '(none)'}`" for split in found)
