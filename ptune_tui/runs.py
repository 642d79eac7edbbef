"""Runs on disk: each is a folder, and its `events.jsonl` folds into one `RunSummary`."""

from __future__ import annotations

import difflib
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from ptune_tui.config import RunConfig
from ptune_tui.errors import UsageError
from ptune_tui.events import LineFollower, ModelReady, TaskFailed, TaskFinished
from ptune_tui.locks import lock_is_held
from ptune_tui.paths import runs_folder
from ptune_tui.run_fold import RunFold
from ptune_tui.run_index import known_runs, run_location
from ptune_tui.tasks import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    EVENTS_FILE,
    TASK_FILE,
    TrainTask,
    read_task,
)

RunStatus = Literal["running", "paused", "finished", "stopped", "failed", "killed"]
AT_WORK: tuple[RunStatus, ...] = ("running", "paused")  # there is a worker

_clock = time.time  # of runs that go on; the tests have their own


class RunSummary(Struct, frozen=True):
    """One training run at a glance."""

    path: Path
    status: RunStatus  # `killed`: its worker is gone and left no last event
    model: str
    data: str
    method: str
    best_accuracy: float | None  # with the soft prompt; of free text the share of exact matches
    base_accuracy: float | None  # without
    best_loss: float | None  # of the same validations; None where it was not computed
    base_loss: float | None
    is_free_text: bool  # whether the loss says more than the accuracy
    step: int
    max_steps: int
    started: float | None  # seconds since the epoch
    seconds: float
    training_seconds: float | None  # validations included; None before the first step
    error: str | None
    num_unreadable_lines: int  # damaged, or of a later protocol

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name


class RunReader:
    """Reads a run folder again and again, each time only what was added to its events.

    Args:
        run (Path): A run folder; one that is gone gives an empty summary.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self._follower = LineFollower(run / EVENTS_FILE)
        self._fold = RunFold()
        self._config: RunConfig | None = None

    @property
    def config(self) -> RunConfig | None:
        """What the run was started with, as the last summary found it."""
        return self._config

    @property
    def model(self) -> ModelReady | None:
        """What its model was found to be, as the last summary found it."""
        return self._fold.model

    def summary(self) -> RunSummary:
        """The run as it is now."""
        # Asked before the events are read: a worker that ends in between has written its last one.
        is_held = lock_is_held(self.run)
        fold = self._fold
        for line in self._follower.new_lines():
            fold.add_line(line)
        self._config = self._config or run_config(self.run)
        config = self._config or RunConfig()
        ending, step, best, base = fold.ending, fold.last_step, fold.best, fold.base
        return RunSummary(
            path=self.run,
            status=_status(fold, is_held),
            model=fold.model.name if fold.model else config.model.source,
            data=config.data.train,
            method=config.method.name,
            best_accuracy=best.accuracy if best else None,
            base_accuracy=base.accuracy if base else None,
            best_loss=best.loss if best else None,
            base_loss=base.loss if base else None,
            is_free_text=fold.data is not None and fold.data.labels is None,
            step=step.step if step else 0,
            max_steps=step.max_steps if step else config.training.max_steps,
            started=fold.started,
            seconds=_seconds(fold, is_held),
            training_seconds=step.elapsed_seconds if step else None,
            error=ending.message if isinstance(ending, TaskFailed) else None,
            num_unreadable_lines=fold.num_unreadable_lines,
        )


def summarise(run: Path) -> RunSummary:
    """Fold a run folder into its summary.

    Lines that cannot be read, and events of a later protocol, are counted and skipped.

    Args:
        run (Path): A run folder; one that is gone gives an empty summary.
    """
    return RunReader(run).summary()


def run_config(run: Path) -> RunConfig | None:
    """The configuration a run was started with; None where its task is missing or unreadable."""
    try:
        task = read_task(run)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return task.config if isinstance(task, TrainTask) else None


def training_seconds(run: Path) -> float | None:
    """How long a run trained, its validations included; None where it made no step.

    Lines that cannot be read are skipped.

    Args:
        run (Path): Its folder.
    """
    return summarise(run).training_seconds


def run_folders(folder: Path) -> Iterator[Path]:
    """The folders in a folder that hold a task; none where it is missing."""
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        try:
            is_run = (entry / TASK_FILE).is_file()
        except OSError:
            continue  # a folder that may not be read hides no other one
        if is_run:
            yield entry


def find_run(text: str, folder: Path | None = None) -> Path:
    """The run folder that a user means.

    Args:
        text (str): A path, a run's name, or `last`.
        folder (Path | None): Where names are looked up; None for the folder of all runs, then for
            those that lie elsewhere.

    Raises:
        UsageError: No run is meant by it, or more than one that lie elsewhere.
    """
    problems: list[str] = []
    elsewhere = known_runs(problems.append) if folder is None else []
    folder = folder or runs_folder()
    runs = {run.name: run for run in run_folders(folder)}
    if text == "last" and (runs or elsewhere):
        every = [*runs.values(), *elsewhere]
        return max(every, key=lambda run: (run / TASK_FILE).stat().st_mtime)
    if text in runs:
        return runs[text]
    path = Path(text).expanduser()
    if (path / TASK_FILE).is_file() or (path / EVENTS_FILE).is_file():
        return path
    named = [run for run in elsewhere if run.name == text]
    if len(named) > 1:
        raise UsageError(
            f"{len(named)} runs are called `{text}`: {', '.join(map(str, named))}.",
            "Name the one that you mean by its path.",
        )
    if named:
        return named[0]
    if path.is_dir():
        raise UsageError(
            f"{path} is not a run: it holds no {TASK_FILE}.", "`ptune runs` lists the runs."
        )
    near = difflib.get_close_matches(text, [*runs, *(run.name for run in elsewhere)], n=1)
    hint = f"Did you mean `{near[0]}`?" if near else "`ptune runs` lists the runs."
    hint = " ".join([*problems, hint])
    raise UsageError(f"There is no run `{text}` in {folder}.", hint)


def run_word(run: Path) -> str:
    """What a command calls a run: its name, or its path where it lies elsewhere.

    Args:
        run (Path): Its folder.
    """
    return run_location(run).name if lies_in_runs_folder(run) else str(run.absolute())


def lies_in_runs_folder(run: Path) -> bool:
    """Whether ptune chose a run's folder, in that of all runs.

    Args:
        run (Path): Its folder.
    """
    return run_location(run).parent == run_location(runs_folder())


def training_config(run: Path) -> RunConfig:
    """The configuration a training run was started with.

    Args:
        run (Path): Its folder.

    Raises:
        UsageError: It is none.
    """
    config = run_config(run)
    if config is None:
        raise UsageError(
            f"{run} is not a training run: its {TASK_FILE} is missing, unreadable or of other "
            "work.",
            "`ptune runs` lists the runs.",
        )
    return config


def resumable_config(run: Path) -> RunConfig:
    """The configuration with which a run can go on.

    Args:
        run (Path): Its folder.

    Raises:
        UsageError: It goes on already, is finished, or holds nothing to go on from.
    """
    config = training_config(run)
    if lock_is_held(run):
        raise UsageError(
            f"{run} needs no resuming: its worker is alive, and it goes on by itself.",
            f"`{shlex.join(['ptune', 'attach', run_word(run)])}` shows it.",
        )
    summary = summarise(run)
    if summary.status == "finished":
        raise UsageError(
            f"{run} is finished: {summary.step} of {summary.max_steps} steps. Its learning rate "
            "has come to its end, so more steps would be another run.",
            f"To train on from its prompt: `ptune train --init prompt --init-prompt {run}`.",
        )
    if not (run / CHECKPOINTS_FOLDER).is_dir():
        raise UsageError(
            f"{run} has no checkpoint to go on from: it ended before the first was written.",
            f"Start again with its configuration: `ptune train {run / CONFIG_FILE}`.",
        )
    return config


def _status(fold: RunFold, is_held: bool) -> RunStatus:
    ending = fold.ending
    if isinstance(ending, TaskFinished):
        return "stopped" if ending.stopped_early else "finished"
    if isinstance(ending, TaskFailed):
        return "stopped" if ending.category == "interrupted" else "failed"
    if not is_held:
        return "killed"
    return "paused" if fold.is_paused else "running"


def _seconds(fold: RunFold, is_held: bool) -> float:
    if isinstance(fold.ending, TaskFinished):
        return fold.ending.seconds
    if is_held and fold.ending is None and fold.worker_started is not None:
        return fold.seconds_before + _clock() - fold.worker_started
    return fold.last_step.elapsed_seconds if fold.last_step else 0.0
