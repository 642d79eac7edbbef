"""What a bundle's manifest says to a program that does not open it: prompts, precisions, base.

And what is a bundle or another export of ours, where a run's lies, and how its prompts are named.
Reads no more of `manifest.json` than that, so it needs nothing of what runs a bundle; whoever opens
one checks all of it (`export.bundle`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
from msgspec import Struct

from ptune_tui.errors import UsageError

BUNDLE_FOLDER = "bundle"  # of a run: where an export goes by itself
_PLAIN_STEMS = ("train", "training", "data")  # of data files that are named by their folder


class BundlePrompt(Struct, frozen=True):
    """A prompt of a bundle."""

    num_virtual_tokens: int
    labels: list[str] | None = None  # None for free text


class BundleCard(Struct, frozen=True):
    """A bundle at a glance.

    Attributes:
        model_name: The base.
        weights_hash: Of the weights that its prompts were trained on.
        default_precision: What it answers in by itself.
        graphs: The graph of each precision that it has.
        prompts: By name, in the order in which they were added.
    """

    model_name: str
    weights_hash: str
    default_precision: str
    graphs: dict[str, str]
    prompts: dict[str, BundlePrompt]


def read_card(folder: Path) -> BundleCard | None:
    """The card of a bundle; None where the folder holds none that can be read.

    Args:
        folder (Path): The bundle.
    """
    from export.manifest_file import manifest_bytes

    try:
        content = manifest_bytes(folder)
        return None if content is None else msgspec.json.decode(content, type=BundleCard)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_bundle(folder: Path | str) -> bool:
    """Whether a folder is meant as a bundle; `read_card` tells whether it can be read.

    Args:
        folder (Path | str): Which.
    """
    from export.manifest_file import MANIFEST

    return os.path.isfile(os.path.join(folder, MANIFEST))


def bundle_in(run: Path) -> Path | None:
    """The bundle in a run's folder, if there is one.

    Args:
        run (Path): The run's folder.
    """
    bundle = run.absolute() / BUNDLE_FOLDER
    return bundle if is_bundle(bundle) else None


class _FolderMark(Struct):
    """What marks a folder for another program as written by ptune."""

    format: str
    weights_hash: str
    prompt: str


def is_export(folder: Path) -> bool:
    """Whether ptune wrote a folder: a bundle, or one for another program.

    Args:
        folder (Path): Any folder.
    """
    from export.manifest_file import FOLDER_CARD

    if read_card(folder) is not None:
        return True
    try:
        msgspec.json.decode((folder / FOLDER_CARD).read_bytes(), type=_FolderMark)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def check_prompt_name(name: str) -> None:
    """Refuse a prompt name that is no plain file name.

    Raises:
        UsageError: It has other characters than letters, digits, `-`, `_` and `.`.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(
            f"{name!r} cannot be a prompt's name.", "Use letters, digits, `-`, `_` and `.`."
        )


def prompt_name_of(data: str) -> str:
    """A name for the prompt that was trained on some data.

    Args:
        data (str): A built-in set or a path; `trec/train.jsonl` gives `trec`.
    """
    path = Path(data)
    word = path.parent.name if path.stem in _PLAIN_STEMS and path.parent.name else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-._") or "prompt"
