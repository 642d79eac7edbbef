"""The files of a run: what of its folder was written by ptune, and goes when the run is deleted.

A run elsewhere lies in a folder that the user chose, and may stand in it beside the user's own
files: there a name alone is no proof, and what is not recognised stays.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec

from ptune_tui.bundles import is_export
from ptune_tui.config import load
from ptune_tui.errors import PTuneError, UsageError
from ptune_tui.inspection import INSPECTION_FILE, Inspection
from ptune_tui.kept_tables import TABLES_FOLDER
from ptune_tui.locks import lock_is_held, read_lock
from ptune_tui.results import (
    EVALUATION_FILE,
    LEARNING_CURVE_FILE,
    Evaluation,
    LearningCurve,
)
from ptune_tui.run_index import run_location
from ptune_tui.run_prompt import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_FOLDER,
    CARD_FILE,
    TENSORS_FILE,
    has_prompt,
)
from ptune_tui.runs import lies_in_runs_folder, run_config
from ptune_tui.tasks import (
    CHECKPOINTS_FOLDER,
    COMMANDS_FILE,
    CONFIG_FILE,
    EVENTS_FILE,
    LAST,
    LOCK_FILE,
    LOG_FILE,
    PREVIOUS,
    PROBES_FILE,
    REPORT_FILE,
    REPORT_MARK,
    STATE_FILES,
    TASK_FILE,
    ExportFormat,
)

_ADAPTER_FILES = (ADAPTER_CONFIG_FILE, TENSORS_FILE, CARD_FILE, "README.md")
# Other programs may have put files into these: they go once they are empty.
_SHARED_FOLDERS = (
    *(f"{CHECKPOINTS_FOLDER}/{name}" for name in (LAST, PREVIOUS)),
    *(CHECKPOINTS_FOLDER, ADAPTER_FOLDER, TABLES_FOLDER),
)


@dataclass(frozen=True)
class RunFiles:
    """What lies in a run's folder.

    Attributes:
        paths: The files that are the run's, and the folders that are with all they hold; the task,
            by which the run is known, is the last.
        foreign: What else lies in the folder: names in it.
    """

    paths: list[Path]
    foreign: list[str]

    @property
    def num_bytes(self) -> int:
        """Of all that is the run's."""
        return sum(map(_num_bytes, self.paths))


def run_files(run: Path) -> RunFiles:
    """What of a run's folder is the run's: all of it where ptune chose the folder.

    Args:
        run (Path): Its folder.

    Raises:
        OSError: It cannot be read.
    """
    entries = sorted(run.iterdir())
    task = run / TASK_FILE
    if lies_in_runs_folder(run):
        own = [path for path in entries if path != task]
    else:
        own = list(_recognised(run))
    paths = [*own, *([task] if task in entries else [])]
    known = set(paths)
    foreign = [path.name for path in entries if path not in known and not _is_shared(path, known)]
    return RunFiles(paths, foreign)


def delete_run(run: Path) -> None:
    """Delete a run; of a folder elsewhere, only what is recognised as the run's.

    A run of which something cannot be deleted keeps its task, and so is still listed.

    Args:
        run (Path): Its folder.

    Raises:
        UsageError: A worker works in it.
        OSError: It cannot be deleted.
    """
    if lock_is_held(run):
        raise UsageError(f"{run} is not deleted: its worker still runs.", "Stop the run first.")
    folder = run_location(run)
    paths = run_files(folder).paths
    for path in paths[:-1]:
        _remove(path)
    for name in _SHARED_FOLDERS:
        _remove_if_empty(folder / name)
    for path in paths[-1:]:
        _remove(path)
    _remove_if_empty(folder)
    if run.is_symlink() and not folder.exists():
        run.unlink()


def some_names(names: list[str]) -> str:
    """The first names of what may be many: `a, b, c and 4 more`.

    Args:
        names (list[str]): At least one.
    """
    num_left = len(names) - 3
    return ", ".join(names[:3]) + (f" and {num_left} more" if num_left > 0 else "")


def num_bytes_in(folder: Path) -> int:
    """Bytes of all files below a folder, links not followed; what vanishes meanwhile counts 0."""
    return sum(
        _num_bytes(Path(parent) / name) for parent, _, names in os.walk(folder) for name in names
    )


def _num_bytes(path: Path) -> int:
    try:
        if path.is_dir() and not path.is_symlink():
            return num_bytes_in(path)
        return path.lstat().st_size
    except OSError:
        return 0


def _recognised(run: Path) -> Iterator[Path]:
    """What is known to be ptune's by what it holds, beside the files that every worker writes."""
    for name in (EVENTS_FILE, COMMANDS_FILE, LOG_FILE):
        if (run / name).is_file():
            yield run / name
    for name, is_ours in _MARKED.items():
        if (run / name).is_file() and is_ours(run):
            yield run / name
    if has_prompt(run) and not (run / ADAPTER_FOLDER).is_symlink():
        yield from _present(run / ADAPTER_FOLDER, _ADAPTER_FILES)
    for name in (LAST, PREVIOUS):
        state = run / CHECKPOINTS_FOLDER / name
        found = list(_present(state, STATE_FILES))
        if len(found) == len(STATE_FILES) and not _has_link(state, run):
            yield from found
    if not (run / TABLES_FOLDER).is_symlink():
        for path in sorted((run / TABLES_FOLDER).glob("*.json")):
            if _holds(path, Evaluation):
                yield path
    for name in get_args(ExportFormat):  # an export is called so where nothing else was asked for
        if is_export(run / name):
            yield run / name


def _present(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    yield from (folder / name for name in names if (folder / name).is_file())


def _has_link(folder: Path, run: Path) -> bool:
    return run_location(folder) != run_location(run) / folder.relative_to(run)


def _holds(path: Path, kind: object) -> bool:
    try:
        msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _is_of_run(run: Path) -> bool:
    """Whether the configuration in a folder is the one that its task was started with."""
    try:
        return load(run / CONFIG_FILE) == run_config(run)
    except PTuneError:
        return False


def _is_report(run: Path) -> bool:
    return REPORT_MARK.encode() in (run / REPORT_FILE).read_bytes()[:200]


_MARKED: dict[str, Callable[[Path], bool]] = {
    LOCK_FILE: lambda run: read_lock(run) is not None,
    CONFIG_FILE: _is_of_run,
    PROBES_FILE: lambda run: _holds(run / PROBES_FILE, list[str]),
    EVALUATION_FILE: lambda run: _holds(run / EVALUATION_FILE, Evaluation),
    LEARNING_CURVE_FILE: lambda run: _holds(run / LEARNING_CURVE_FILE, LearningCurve),
    INSPECTION_FILE: lambda run: _holds(run / INSPECTION_FILE, Inspection),
    REPORT_FILE: _is_report,
}


def _is_shared(path: Path, own: set[Path]) -> bool:
    """Whether a folder goes, too, since all that is in it does."""
    return path.name in _SHARED_FOLDERS and all(
        each in own or each.is_dir() for each in path.rglob("*")
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()
