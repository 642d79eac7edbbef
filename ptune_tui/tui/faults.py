"""A fault of the app itself: a sentence on the normal screen, and the traceback in a file."""

from __future__ import annotations

import traceback
from pathlib import Path

from ptune_tui.paths import tasks_folder

LOG_FILE = "app.log"


def fault_words(error: BaseException) -> str:
    """Write a fault down, and say what happened and what to do.

    Args:
        error (BaseException): What was raised.
    """
    path = tasks_folder() / LOG_FILE
    lines = [
        f"error: A fault of ptune ended the app: {type(error).__name__}: {error}",
        "Runs and exports go on without it; `ptune` shows them again.",
    ]
    try:
        _write(path, error)
        lines.append(f"hint: The traceback is in {path}; it and `ptune doctor` help to report it.")
    except OSError as reason:
        lines.append(f"The traceback could not be written to {path}: {reason}")
    return "\n".join(lines)


def _write(path: Path, error: BaseException) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
