"""All runs, read again and again while a list of them is shown.

Any run may vanish or be half-written at any moment: such a one is left out until it can be read.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ptune_tui.config import RunConfig
from ptune_tui.events import ModelReady
from ptune_tui.paths import runs_folder
from ptune_tui.run_index import known_runs, run_location
from ptune_tui.runs import AT_WORK, RunReader, RunSummary, run_folders
from ptune_tui.tasks import EVENTS_FILE, LOCK_FILE

_Stamp = tuple[int, int, bool]  # size and time of the events, and whether there is a lock


@dataclass(frozen=True)
class ListedRun:
    """A run of a listing.

    Attributes:
        summary: The run at a glance.
        config: What it was started with; None where its task is missing or unreadable.
        model: What its model was found to be; None before it was loaded.
    """

    summary: RunSummary
    config: RunConfig | None
    model: ModelReady | None


class RunListing:
    """The runs of a folder. For any thread.

    Args:
        folder (Path | None): Where they lie; None for the folder of all runs, and those elsewhere
            that were started with a folder of their own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or runs_folder()
        self._has_all = folder is None
        self._lock = threading.Lock()
        self._readers: dict[Path, RunReader] = {}
        self._known: dict[Path, tuple[_Stamp, ListedRun]] = {}

    def read(self, on_unreadable: Callable[[str], None] = lambda _: None) -> list[RunSummary]:
        """Every run, the latest first; of those that did not change nothing is opened.

        Args:
            on_unreadable (Callable[[str], None]): Given a sentence about each that is left out.
        """
        return [run.summary for run in self.read_all(on_unreadable)]

    def read_all(self, on_unreadable: Callable[[str], None] = lambda _: None) -> list[ListedRun]:
        """The same, with what each was started with and on.

        Args:
            on_unreadable (Callable[[str], None]): Given a sentence about each that is left out.
        """
        with self._lock:
            self._read_changed(on_unreadable)
            listed = [run for _, run in self._known.values()]
        return sorted(listed, key=lambda run: run.summary.started or 0.0, reverse=True)

    def _read_changed(self, on_unreadable: Callable[[str], None]) -> None:
        found: dict[Path, tuple[_Stamp, ListedRun]] = {}
        for run in self.folders(on_unreadable):
            try:
                stamp = _stamp(run)
                known = self._known.get(run)
                if known is None or known[0] != stamp or known[1].summary.status in AT_WORK:
                    reader = self._readers.setdefault(run, RunReader(run))
                    known = (stamp, listed_run(reader))
            except OSError as error:  # it may have been deleted, or replaced, while it was read
                on_unreadable(f"left out: {run} cannot be read: {error.strerror}")
                continue
            found[run] = known
        self._known = found
        self._readers = {run: self._readers[run] for run in found}

    def folders(self, on_unreadable: Callable[[str], None] = lambda _: None) -> list[Path]:
        """Where the runs lie now, each once, whatever leads to it.

        Args:
            on_unreadable (Callable[[str], None]): Told where those elsewhere cannot be known.
        """
        present = list(_present(self.folder))
        if not self._has_all:
            return present
        listed = {run_location(run) for run in present}
        return present + [run for run in known_runs(on_unreadable) if run not in listed]


def listed_run(reader: RunReader) -> ListedRun:
    """A run as it is now.

    Args:
        reader (RunReader): Of its folder.
    """
    summary = reader.summary()
    return ListedRun(summary, reader.config, reader.model)


def has_runs(folder: Path | None = None) -> bool:
    """Whether there is any run.

    Args:
        folder (Path | None): Where to look; None for the folder of all runs, and elsewhere.
    """
    is_any = any(True for _ in _present(folder or runs_folder()))
    return is_any or (folder is None and bool(known_runs()))


def _present(folder: Path) -> Iterator[Path]:
    """The runs in a folder; none where it was deleted, or may not be read."""
    with contextlib.suppress(OSError):
        yield from run_folders(folder)


def _stamp(run: Path) -> _Stamp:
    try:
        events = (run / EVENTS_FILE).stat()
    except FileNotFoundError:
        return (0, 0, (run / LOCK_FILE).exists())
    return (events.st_size, events.st_mtime_ns, (run / LOCK_FILE).exists())
