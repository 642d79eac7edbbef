"""Runs a worker's task in the foreground of a terminal: start, show, stop when asked."""

from __future__ import annotations

import contextlib
from pathlib import Path

from msgspec import structs

from ptune_tui.cli.display import Display, JsonDisplay, PlainDisplay, SilentDisplay
from ptune_tui.cli.interrupts import Interrupts
from ptune_tui.cli.talk import say
from ptune_tui.errors import PTuneError, UsageError, missing_training_extra
from ptune_tui.events import Event, Stop, TaskFailed, TaskFinished
from ptune_tui.jobs import Job, follow, start
from ptune_tui.locks import own_lock
from ptune_tui.paths import known_runs_file
from ptune_tui.run_index import remember_run
from ptune_tui.tasks import ExportTask, LearningCurveTask, Task, TrainTask

_STOPPING = {
    TrainTask: "Stopping after this step and saving; interrupt again to end at once.",
    LearningCurveTask: "Stopping after this step; the points so far are kept.",
}


class WorkerError(PTuneError):
    """A worker's task failed; carries the worker's own sentence."""

    def __init__(self, event: TaskFailed) -> None:
        super().__init__(event.message, event.hint)
        self.category = event.category


def make_display(name: str) -> Display:
    """The display of a name."""
    if name == "json":
        return JsonDisplay()
    return SilentDisplay() if name == "none" else PlainDisplay()


def work(folder: Path, task: Task, display: Display) -> list[Event]:
    """Run a task in a worker and return its events.

    The first interrupt (Ctrl-C, or SIGTERM) asks a training run or a learning curve to stop and
    save; a second one, or any interrupt of another task, ends the worker. A reader of the output
    that goes away counts as an interrupt. Any other error here ends the worker, too; training alone
    goes on by itself, and when its terminal is closed, too.

    Args:
        folder (Path): The task's folder.
        task (Task): What to do.
        display (Display): What shows the events.

    Raises:
        WorkerError: The task failed.
        UsageError: The training extra is not installed, or the current folder was deleted.
        KeyboardInterrupt: The worker was ended.
    """
    require_training_extra()
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError(
            "The current folder was deleted, so nothing can be started in it.",
            "Change into a folder that is there: `cd`.",
        ) from None
    stopping = _STOPPING.get(type(task))
    if isinstance(task, ExportTask):
        task = structs.replace(task, owner=own_lock())
    events: list[Event] = []
    with Interrupts(outlives_terminal=stopping is not None) as interrupts:
        job = start(folder, task)
        try:
            if isinstance(task, TrainTask):
                note_run(folder)
            _follow_or_stop(interrupts, job, display, events, stopping)
        except BaseException as error:
            if stopping is None or isinstance(error, KeyboardInterrupt):
                interrupts.hold()
                job.kill()
            raise
        finally:
            display.close()
    last = events[-1]
    if isinstance(last, TaskFailed):
        raise WorkerError(last)
    return events


def note_run(folder: Path) -> None:
    """Remember where a run lies, so that it is listed; says so where that cannot be.

    Args:
        folder (Path): The run's folder.
    """
    try:
        remember_run(folder)
    except OSError as error:
        say(
            f"note: `ptune runs` will not list {folder}: {known_runs_file()} cannot be changed: "
            f"{error.strerror}"
        )


def require_training_extra() -> None:
    """Say what to install where the training extra is missing.

    Raises:
        PTuneError: It is missing.
    """
    import importlib.util

    for module in ("torch", "transformers", "peft", "onnx"):
        if importlib.util.find_spec(module) is None:
            reason = missing_training_extra(module)
            error = PTuneError(reason.message, reason.hint)
            error.category = reason.category
            raise error


def _follow_or_stop(
    interrupts: Interrupts, job: Job, display: Display, events: list[Event], stopping: str | None
) -> None:
    """Follow a job to its end; the first interrupt only asks one to stop that can.

    Where nobody reads the output any more, as behind `| head`, that counts as an interrupt.
    """
    is_asked = False
    while True:
        try:
            interrupts.release()  # one that came since the start raises here, and is the first
            _follow(job, display, events)
            return
        except KeyboardInterrupt:
            if stopping is None or is_asked:
                raise
            display.close()
            words = stopping
        except BrokenPipeError:
            display = SilentDisplay()
            words = f"Nobody reads the output any more. {stopping or 'The work is ended.'}"
        if not is_asked:
            with contextlib.suppress(BrokenPipeError):  # it may have been stderr
                say(words)
        if stopping is None:
            raise KeyboardInterrupt
        if not is_asked:
            _ask_to_stop(job)
        is_asked = True


def _ask_to_stop(job: Job) -> None:
    try:
        job.send(Stop(save=True))
    except FileNotFoundError:
        job.kill()  # its folder is gone: it cannot be told, and has nowhere to save to


def _follow(job: Job, display: Display, events: list[Event]) -> None:
    for event in follow(job):
        events.append(event)
        if not isinstance(event, TaskFinished | TaskFailed) or isinstance(display, JsonDisplay):
            display.show(event)
