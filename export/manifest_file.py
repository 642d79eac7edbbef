"""The file that an exported folder is known by, and a manifest's bytes, read with care.

For who opens bundles and for who only lists them: imports nothing heavy.
"""

from __future__ import annotations

import stat
from pathlib import Path

MANIFEST = "manifest.json"  # of a bundle
FOLDER_CARD = "ptune.json"  # of a folder for another program
MOST_BYTES = 64 << 20


def manifest_bytes(folder: Path) -> bytes | None:
    """The content of a bundle's manifest; None where it is a link, no file, or too large.

    Nothing else is opened: a pipe would be waited for, and memory is not for other people's files.

    Args:
        folder (Path): The bundle.

    Raises:
        OSError: It is not there, or may not be read.
    """
    path = folder / MANIFEST
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
        return None
    return path.read_bytes()
