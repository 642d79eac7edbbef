"""Paths as a user writes them, also half written: what can be none is told, never raised on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptune_tui.errors import UsageError


def written_path(text: str) -> Path:
    """The absolute path that a text stands for, there or not, without `~` and `..`.

    Args:
        text (str): As a user writes it.

    Raises:
        UsageError: It can be no path, or may not be looked at.
    """
    with path_problems():
        path = Path(os.path.abspath(Path(text).expanduser()))
        path.exists()
    return path


@contextmanager
def path_problems() -> Iterator[None]:
    """Tell what `pathlib` raises on a text that is looked at as a path.

    Raises:
        UsageError: In its place.
    """
    try:
        yield
    except RuntimeError:
        raise UsageError("There is no user of that name, whose folder `~` could be.") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UsageError(f"This path cannot be used: {reason}.") from error
