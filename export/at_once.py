"""How an exported folder comes into being: written beside its place and renamed."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.errors import BundleError


@contextmanager
def written_at_once(destination: Path, overwrite: bool, marker: str) -> Iterator[Path]:
    """A folder to write into that takes the destination's place only if nothing fails.

    Args:
        destination (Path): Where the bundle is to be.
        overwrite (bool): Whether what is there may be replaced, where it has the marker.
        marker (str): The file by which a folder of the kind is known.

    Raises:
        BundleError: Something is there already that may not be replaced.
    """
    old = _old(destination)
    _restore(destination)
    if destination.exists() and not (overwrite and (destination / marker).is_file()):
        raise BundleError(
            f"{destination} is already there.",
            "Name another folder, or replace an export of the same kind with `--overwrite`.",
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(f".{destination.name}.{os.getpid()}.part")
    # A part of another writer that still lives goes, too: two of one bundle make no sense.
    _remove_parts(destination)
    part.mkdir()
    try:
        yield part
        if destination.exists():
            destination.replace(old)
            try:
                part.replace(destination)
            except OSError:
                old.replace(destination)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            part.replace(destination)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder within one that is there, for files that join it; gone when the block ends.

    Args:
        folder (Path): What they join.
    """
    remove_unfinished(folder)
    stage = folder / f".adding.{os.getpid()}.part"
    stage.mkdir()
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def remove_unfinished(destination: Path) -> None:
    """Take away what a writer that was killed left behind, beside a folder and in it.

    Args:
        destination (Path): What it wrote.
    """
    _restore(destination)
    _remove_parts(destination)


def _remove_parts(destination: Path) -> None:
    beside = destination.parent.glob(f".{glob.escape(destination.name)}.*.part")
    for left in [*beside, *destination.glob(".adding.*.part")]:
        shutil.rmtree(left, ignore_errors=True)


def _old(destination: Path) -> Path:
    return destination.with_name(f".{destination.name}.old.part")


def _restore(destination: Path) -> None:
    """Undo the first of two renames, where a writer was killed before the second."""
    if _old(destination).exists() and not destination.exists():
        _old(destination).replace(destination)
