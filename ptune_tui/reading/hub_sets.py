"""Data sets of the Hugging Face hub: only their data files are fetched, never code."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ptune_tui import hub
from ptune_tui.errors import DataError, ResourceError, UsageError, missing_data_extra
from ptune_tui.paths import data_sets_folder
from ptune_tui.reading.folder import check_one_part
from ptune_tui.reading.formats import JSON, JSON_LINES, PARQUET, SEPARATORS
from ptune_tui.reading.splits import by_split, is_data

_NAME = re.compile(rf"({hub.HUB_ID.pattern})((?:/[\w.-]+)*)")
_PREFERRED: tuple[tuple[str, ...], ...] = ((PARQUET,), (*JSON_LINES, JSON), tuple(SEPARATORS))
_REVISIONS = (None, "refs/convert/parquet")  # the second holds what the hub converted by itself


def is_hub_name(name: str) -> bool:
    """Whether a name may be a hub id, with a part behind it or without."""
    return _NAME.fullmatch(name) is not None


def cached(name: str, split: str | None) -> Path | None:
    """The folder of a data set that was downloaded, whole or only that split; else None."""
    folders = (_folder(name, None), _folder(name, split))
    return next((folder for folder in folders if folder.is_dir()), None)


def fetch(name: str, split: str | None) -> Path:
    """The folder of a hub data set, downloaded into the cache unless it is there.

    Args:
        name (str): `owner/name` or `owner/name/part`.
        split (str | None): Only this one; None for all.

    Raises:
        UsageError: The package `huggingface_hub` is not installed.
        DataError: The hub has no such data set, or it holds no such files.
        ResourceError: The hub cannot be reached.
    """
    there = cached(name, split)
    if there is not None:
        return there
    cache, folder = data_sets_folder(), _folder(name, split)
    if hub.is_switched_off():
        raise ResourceError(
            f"HF_HUB_OFFLINE is set, and the data set {name} is neither on this disk nor in the "
            f"cache {cache}.",
            "Unset it to download, or name a file or folder.",
        )
    part = cache / ".downloads" / folder.name
    part.mkdir(parents=True, exist_ok=True)
    _download(name, split, part)
    part.replace(folder)
    return folder


def _folder(name: str, split: str | None) -> Path:
    key = name.replace("/", "--")
    return data_sets_folder() / (key if split is None else f"{key}--split-{split}")


def _download(name: str, split: str | None, folder: Path) -> None:
    try:
        import huggingface_hub
        from huggingface_hub import errors
        from huggingface_hub.utils import disable_progress_bars
    except ModuleNotFoundError as error:
        explanation = missing_data_extra("huggingface_hub")
        raise UsageError(explanation.message, explanation.hint) from error
    disable_progress_bars()
    match = _NAME.fullmatch(name)
    assert match is not None
    hub_id, part = match[1], match[2].removeprefix("/")
    try:
        revision, names = _files(huggingface_hub.HfApi(), hub_id, part)
        huggingface_hub.snapshot_download(
            hub_id,
            repo_type="dataset",
            revision=revision,
            local_dir=folder,
            allow_patterns=[glob.escape(str(file)) for file in _of_split(names, name, split)],
        )
    except errors.RevisionNotFoundError as error:  # of what the hub would have converted
        raise _no_files(hub_id, part) from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(
            f"There is no file or folder {name} here, and no such data set on the hub that you "
            "may read.",
            "Check the spelling; a gated data set needs `hf auth login` and its terms accepted.",
        ) from error
    except (OSError, errors.HTTPError) as error:
        raise ResourceError(
            f"There is no file or folder {name} here, and the hub could not be reached: {error}",
            "Check the path, or the network; what came so far is kept.",
        ) from error


def _files(api: Any, hub_id: str, part: str) -> tuple[str, list[PurePosixPath]]:
    """The commit and the data files of a data set: its own, else those that the hub converted."""
    for revision in _REVISIONS:
        info = api.dataset_info(hub_id, revision=revision)
        names = [PurePosixPath(sibling.rfilename) for sibling in info.siblings]
        for kinds in _PREFERRED:
            files = [name for name in names if is_data(name, kinds)]
            below = [name for name in files if not part or name.is_relative_to(part)]
            if below:
                return info.sha, below
    raise _no_files(hub_id, part)


def _no_files(hub_id: str, part: str) -> DataError:
    return DataError(
        f"The hub data set {hub_id} holds no Parquet, JSON or CSV files"
        f"{f' below `{part}`' if part else ''}.",
        "Name another one, or a part that it has.",
    )


def _of_split(
    names: Sequence[PurePosixPath], name: str, split: str | None
) -> Sequence[PurePosixPath]:
    check_one_part(list(names), name, "/")
    if split is None:
        return names
    found = by_split(names)
    if split not in found:
        raise DataError(
            f"The hub data set {name} has no split `{split}`.",
            f"It has {', '.join(f'`{each}`' for each in found)}.",
        )
    return found[split]
