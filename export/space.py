"""Whether a disk has room for what is about to be written."""

from __future__ import annotations

import shutil
from pathlib import Path

from export.errors import ExportError

_SLACK = 1.15


def check_space(folder: Path, num_bytes: float) -> None:
    """Refuse before writing what would not fit.

    Args:
        folder (Path): Where it goes; made already.
        num_bytes (float): Of its weights; a little is added for the rest.

    Raises:
        ExportError: Less is free.
    """
    needed = _SLACK * num_bytes
    free = shutil.disk_usage(folder).free
    if free < needed:
        error = ExportError(
            f"The export needs about {needed / 1e6:.0f} MB, but {folder.parent} has "
            f"{free / 1e6:.0f} MB free.",
            "Free some space, or name another folder with `--out`.",
        )
        error.category = "resources"
        raise error
