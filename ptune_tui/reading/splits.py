"""Files of a data set by split, told from their names: `train-00000-of-00002.parquet`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

TRAINING = "train"
VALIDATION = ("validation", "valid", "val", "dev")
WHOLE = ""  # of files whose names tell no split
_TEST = "test"
_SPLIT = re.compile(
    rf"(?<![a-z])({'|'.join((TRAINING, *VALIDATION, _TEST, 'training', 'testing'))})(?![a-z])"
)
_CALLED = {"training": TRAINING, "testing": _TEST}  # other words for the same
_SHARD = re.compile(r"(.*)-\d+-of-\d+")
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
    name = _unpacked(path)
    stem, ending = _stem(path), PurePosixPath(name).suffix.lower()
    return ending in kinds and not stem.endswith(_REFERENCES) and not _DESCRIPTIONS.fullmatch(name)


def split_of(path: PurePosixPath) -> str:
    """The split that a file belongs to: by a word of its own name, or the name of a folder."""
    matches = [_SPLIT.search(_stem(path).lower()), *map(_folder_split, reversed(path.parts[:-1]))]
    found = next((match[1] for match in matches if match), WHOLE)
    return _CALLED.get(found, found)


def are_shards(paths: Sequence[PurePosixPath]) -> bool:
    """Whether files are the numbered pieces of one, such as `data-00000-of-00002.parquet`."""
    matches = [_SHARD.fullmatch(_stem(path)) for path in paths]
    return all(matches) and len({match[1] for match in matches if match}) == 1


def by_split(paths: Iterable[PurePosixPath]) -> dict[str, list[PurePosixPath]]:
    """Files by split, in the order of their names."""
    found: dict[str, list[PurePosixPath]] = {}
    for path in sorted(paths):
        found.setdefault(split_of(path), []).append(path)
    return found


def part_of(path: PurePosixPath) -> str:
    """The folder that sets a part of a data set apart, as `cola` of `cola/train.parquet`."""
    folders = [name for name in path.parts[:-1] if name != "data" and not _folder_split(name)]
    return "/".join(folders)


def _folder_split(name: str) -> re.Match[str] | None:
    # Within a folder's name the word may mean anything: `unit-test-questions` is a data set.
    return _SPLIT.match(name.lower())


def _stem(path: PurePosixPath) -> str:
    return PurePosixPath(_unpacked(path)).stem


def _unpacked(path: PurePosixPath) -> str:
    """A file's name without `.gz`, in whatever case that is written."""
    return path.stem if path.suffix.lower() == ".gz" else path.name
