"""Work that goes on in the folder of tasks when the app is opened. Draws nothing.

Runs are found by their list; an export and a table lie among the tasks, and are followed. An
earlier app has left them running, or a command in another terminal waits for its export.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ptune_tui import jobs
from ptune_tui.errors import PTuneError
from ptune_tui.jobs import Job
from ptune_tui.locks import lock_is_held, process_of
from ptune_tui.paths import tasks_folder
from ptune_tui.tasks import CompareTask, ExportTask, Task, read_task
from ptune_tui.tui.export_state import ExportState
from ptune_tui.tui.followed import Followed
from ptune_tui.tui.session import Session

AnyTask = TypeVar("AnyTask", bound=Task)


def take_up(session: Session) -> None:
    """Follow the last export and the last table that still go on. Reads the disk.

    Args:
        session (Session): Of the app that has just been opened.
    """
    at_work = _tasks_at_work()
    if (export := _last(at_work, ExportTask)) is not None:
        job, asked = export
        is_anothers = asked.owner is not None and process_of(asked.owner) is not None
        session.follow_export(Followed(job, ExportState(asked, is_anothers=is_anothers)))
    if (table := _last(at_work, CompareTask)) is not None:
        session.comparison.follow_table(*table)


def _last(at_work: list[tuple[Job, Task]], kind: type[AnyTask]) -> tuple[Job, AnyTask] | None:
    found = [(job, task) for job, task in at_work if isinstance(task, kind)]
    return found[-1] if found else None


def _tasks_at_work() -> list[tuple[Job, Task]]:
    """The tasks in which a worker is, in the order in which they were started."""
    try:
        folders = sorted(tasks_folder().iterdir())  # their names begin with the time
    except OSError:
        return []  # there were no tasks yet
    at_work = []
    for folder in folders:
        try:
            if lock_is_held(folder):
                at_work.append((jobs.attach(folder), read_task(folder)))
        except (OSError, PTuneError, msgspec.DecodeError, UnicodeDecodeError):
            continue  # of another version, or being deleted
    return at_work
