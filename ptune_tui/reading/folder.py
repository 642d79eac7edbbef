"""A folder that is a data set: saved by `datasets`, or data files side by side."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec
from msgspec import Struct

from ptune_tui.errors import DataError
from ptune_tui.reading.formats import FORMATS, KINDS, kind_of
from ptune_tui.reading.splits import WHOLE, are_shards, by_split, is_data, part_of

_STATE_FILE = "state.json"
_SPLITS_FILE = "dataset_dict.json"
Description = TypeVar("Description", bound=Struct)


class _DataFile(Struct):
    filename: str


class _State(Struct):
    """`state.json` of a saved data set."""

    data_files: list[_DataFile] = msgspec.field(name="_data_files")


class _Splits(Struct):
    """`dataset_dict.json` of several saved data sets."""

    splits: list[str]


def splits_of(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by split; under `splits.WHOLE` where their names tell none.

    Args:
        folder (Path): A data set.

    Raises:
        DataError: It holds no data, several data sets, files of several formats, or several files
            whose names tell neither splits nor pieces of one file.
    """
    if (folder / _SPLITS_FILE).is_file():
        names = _described(folder / _SPLITS_FILE, _Splits).splits
        return {name: _saved_files(folder / name) for name in names}
    if (folder / _STATE_FILE).is_file():
        return {WHOLE: _saved_files(folder)}
    names_below = [
        below
        for path in folder.rglob("*")
        if path.is_file() and is_data(below := PurePosixPath(path.relative_to(folder)), KINDS)
    ]
    if not names_below:
        raise DataError(f"{folder} holds no data files.", f"Types that can be read: {FORMATS}.")
    check_one_part(names_below, str(folder), "/")
    found = by_split(names_below)
    for split, paths in found.items():
        kinds = sorted({kind_of(Path(path)) for path in paths})
        if len(kinds) > 1:
            raise DataError(
                f"{folder} holds {' and '.join(f'`{kind}`' for kind in kinds)} files"
                f"{f' of the split `{split}`' if split else ''}.",
                "They may hold the same rows: name one file.",
            )
    if set(found) == {WHOLE}:
        _check_one_file(found[WHOLE], folder)
    return {split: [folder / path for path in paths] for split, paths in found.items()}


def check_one_part(names: list[PurePosixPath], where: str, mark: str) -> None:
    """Refuse a data set of several parts, whose rows do not belong together.

    Args:
        names (list[PurePosixPath]): Its files.
        where (str): What was named.
        mark (str): What stands between that and a part's name.

    Raises:
        DataError: There are several.
    """
    parts = sorted({part_of(name) for name in names})
    if len(parts) > 1:
        shown = ", ".join(f"`{part or '.'}`" for part in parts[:10])
        example = next(part for part in parts if part)
        raise DataError(
            f"{where} holds {len(parts)} data sets: {shown}{', ...' if len(parts) > 10 else ''}.",
            f"Name one of them: {where}{mark}{example}",
        )


def _check_one_file(paths: list[PurePosixPath], folder: Path) -> None:
    """Refuse files that nobody said belong together: one may hold the test rows of another."""
    if len(paths) > 1 and not are_shards(paths):
        shown = ", ".join(f"`{path}`" for path in paths[:5])
        raise DataError(
            f"{folder} holds {len(paths)} files whose names tell no split: {shown}"
            f"{', ...' if len(paths) > 5 else ''}.",
            f"Name one file: {folder / paths[0]}. Or name them by split, such as train.jsonl and "
            "test.jsonl, or pieces of one file such as data-00000-of-00002.jsonl.",
        )


def _saved_files(folder: Path) -> list[Path]:
    """The files of one saved data set, in the order of its rows."""
    state = folder / _STATE_FILE
    if not state.is_file():
        raise DataError(
            f"{folder} has no {_STATE_FILE}.", "Save the data set again with `save_to_disk`."
        )
    files = [folder / file.filename for file in _described(state, _State).data_files]
    for file in files:
        if not file.is_file():
            raise DataError(
                f"{state} names {file.name}, which is not there.",
                "The folder is incomplete: copy it again.",
            )
    return files


def _described(path: Path, kind: type[Description]) -> Description:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} does not describe a saved data set: {error}.",
            "Save the data set again with `save_to_disk`.",
        ) from None
