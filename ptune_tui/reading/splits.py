"""Files of a data set by split, told from their names: `train-00000-of-00002.parquet`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

TRAINING = "train"
VALIDATION = ("validation", "valid", "val", "dev")
WHOLE = ""  # of files whose names tell no split
_SPLIT = re.compile(rf"({'|'.join((TRAINING, *VALIDATION, 'test'))})(?![a-z])")
_DESCRIPTIONS = re.compile(r"(dataset_infos?|dataset_dict|state|config|.*_config|.*metadata)\.json")
_REFERENCES = "_refs"  # `test_refs.jsonl` beside `test.jsonl` holds the same rows


def is_data(path: PurePosixPath, kinds: Iterable[str]) -> bool:
    """Whether a file of a data set's folder holds rows.

    Args:
        path (PurePosixPath): Below the folder.
        kinds (Iterable[str]): Endings of the formats.
    """
    if any(part.startswith((".", "_")) for part in path.parts):
        return False
    name = path.name.removesuffix(".gz")
    stem, ending = PurePosixPath(name).stem, PurePosixPath(name).suffix.lower()
    return ending in kinds and not stem.endswith(_REFERENCES) and not _DESCRIPTIONS.fullmatch(name)


def split_of(path: PurePosixPath) -> str:
    """The split that a file belongs to, by its own name or that of a folder around it."""
    for name in reversed(path.parts):
        if match := _SPLIT.match(name.lower()):
            return match[1]
    return WHOLE


def by_split(paths: Iterable[PurePosixPath]) -> dict[str, list[PurePosixPath]]:
    """Files by split, in the order of their names."""
    found: dict[str, list[PurePosixPath]] = {}
    for path in sorted(paths):
        found.setdefault(split_of(path), []).append(path)
    return found


def part_of(path: PurePosixPath) -> str:
    """The folder that sets a part of a data set apart, as `cola` of `cola/train.parquet`."""
    folders = [name for name in path.parts[:-1] if name != "data" and not _SPLIT.match(name)]
    return "/".join(folders)
