"""A job that the app follows, and what its events add up to."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ptune_tui import jobs
from ptune_tui.endings import gone_folder
from ptune_tui.events import Event, Notice, TaskFailed
from ptune_tui.jobs import Job
from ptune_tui.tasks import has_task
from ptune_tui.tui.progress import TaskProgress
from ptune_tui.tui.run_state import RunState


class Folded(Protocol):
    """What events are folded into."""

    task: TaskProgress

    def add(self, event: Event) -> None:
        """Take in one event."""


State = TypeVar("State", bound=Folded)


@dataclass
class Followed(Generic[State]):
    """A job and the state that its events add up to."""

    job: Job
    state: State
    _num_unreadable: int = 0
    _gone: TaskFailed | None = None
    _is_read: bool = False

    def __post_init__(self) -> None:
        self.job.step_back()

    @property
    def is_active(self) -> bool:
        """Whether more is to come."""
        if self._gone is not None and self.job.is_alive():
            return True  # it can still be told to end, and its folder may come back
        return not self.state.task.is_over or self.job.may_go_on

    def poll(self) -> bool:
        """Take in the new events; says whether there were any."""
        was_alive = self.job.is_alive()  # asked first, so that what it wrote last is read below
        changed = False
        for event in self.job.events():
            self.state.add(event)
            changed = True
        self._look_for_worker()
        if not was_alive and self.is_active:
            for event in jobs.follow(self.job):  # does not wait: the worker is gone
                self.state.add(event)
                changed = True
        changed |= self._look_for_folder()
        return self._say_unreadable() or changed

    def _look_for_worker(self) -> None:
        """A run may have been resumed by a worker that has not spoken: what was read is old."""
        state, is_first = self.state, not self._is_read
        self._is_read = True
        if not is_first or not isinstance(state, RunState) or not self.job.may_go_on:
            return
        if state.task.is_up and state.task.pid != self.job.pid:
            state.go_on()

    def _look_for_folder(self) -> bool:
        """Say that the folder is gone, until it is back; says whether that has changed."""
        is_there, task = has_task(self.job.folder), self.state.task
        if self._gone is None and not is_there and not task.is_over:
            self._gone = gone_folder(self.job.folder, self.job.pid)
            self.state.add(self._gone)
        elif self._gone is not None and is_there:
            task.ending = None if task.ending is self._gone else task.ending
            self._gone = None
        else:
            return False
        return True

    def _say_unreadable(self) -> bool:
        """Say that lines were left out; says whether there are more than before."""
        count = self.job.num_undecodable_lines
        if count == self._num_unreadable:
            return False
        self._num_unreadable = count
        self.state.task.drop_notices("unreadable-events")
        lines = "1 line of its events is" if count == 1 else f"{count} lines of its events are"
        self.state.add(
            Notice("unreadable-events", f"{lines} damaged, or of a later ptune, and left out.")
        )
        return True


def end(followed: Followed[Any] | None) -> None:
    """End a worker that still goes on; that may take seconds, and the app goes on.

    Args:
        followed (Followed[Any] | None): The worker; None for nothing to end.
    """
    if followed is not None and followed.is_active:
        threading.Thread(target=followed.job.kill, daemon=True).start()
