"""All runs of the runs' folder, read again and again while a list of them is shown.

Any run may vanish or be half-written at any moment: such a one is left out until it can be read.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ptune_tui.errors import UsageError
from ptune_tui.locks import lock_is_held
from ptune_tui.paths import runs_folder
from ptune_tui.runs import AT_WORK, RunReader, RunSummary, latest_first, run_folders
from ptune_tui.tasks import EVENTS_FILE, LOCK_FILE

_Stamp = tuple[int, int, bool]  # size and time of the events, and whether there is a lock


class RunListing:
    """The runs of a folder. Not for two threads at once.

    Args:
        folder (Path | None): Where they lie; None for the folder of all runs.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or runs_folder()
        self._readers: dict[Path, RunReader] = {}
        self._known: dict[Path, tuple[_Stamp, RunSummary]] = {}

    def read(self) -> list[RunSummary]:
        """Every run, the latest first; of those that did not change nothing is opened."""
        found: dict[Path, tuple[_Stamp, RunSummary]] = {}
        for run in self.folders():
            try:
                stamp = _stamp(run)
                known = self._known.get(run)
                if known is None or known[0] != stamp or known[1].status in AT_WORK:
                    reader = self._readers.setdefault(run, RunReader(run))
                    known = (stamp, reader.summary())
            except OSError:
                continue  # it was deleted, or replaced, while it was read
            found[run] = known
        self._known = found
        self._readers = {run: self._readers[run] for run in found}
        return latest_first(summary for _, summary in found.values())

    def folders(self) -> list[Path]:
        """Where the runs lie now."""
        try:
            return list(run_folders(self.folder))
        except OSError:
            return []  # the folder of all runs was deleted, or may not be read


def has_runs(folder: Path | None = None) -> bool:
    """Whether there is any run.

    Args:
        folder (Path | None): Where to look; None for the folder of all runs.
    """
    try:
        return any(True for _ in run_folders(folder or runs_folder()))
    except OSError:
        return False  # deleted, or not to be read


def delete_run(run: Path) -> None:
    """Delete a run folder with all it holds.

    Args:
        run (Path): Its folder.

    Raises:
        UsageError: A worker works in it.
        OSError: It cannot be deleted.
    """
    if lock_is_held(run):
        raise UsageError(f"{run} is not deleted: its worker still runs.", "Stop the run first.")
    shutil.rmtree(run)


def num_bytes_in(folder: Path) -> int:
    """Bytes of all files below a folder, links not followed; what vanishes meanwhile counts 0."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:
                continue
    return total


def _stamp(run: Path) -> _Stamp:
    try:
        events = (run / EVENTS_FILE).stat()
    except FileNotFoundError:
        return (0, 0, (run / LOCK_FILE).exists())
    return (events.st_size, events.st_mtime_ns, (run / LOCK_FILE).exists())
