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
    if destination.exists() and not (overwrite and (destination / marker).is_file()):
        raise BundleError(
            f"{destination} is already there.",
            "Name another folder, or replace an export of the same kind with `--overwrite`.",
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(f".{destination.name}.{os.getpid()}.part")
    # What a writer that was killed left behind; two writers of one bundle make no sense.
    for left in destination.parent.glob(f".{glob.escape(destination.name)}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        if destination.exists():
            old = destination.with_name(f".{destination.name}.old.part")
            destination.replace(old)
            part.replace(destination)
            shutil.rmtree(old, ignore_errors=True)
        else:
            part.replace(destination)
    finally:
        shutil.rmtree(part, ignore_errors=True)
