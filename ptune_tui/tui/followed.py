"""A worker that the app follows: its job, and what its events add up to. Draws nothing."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ptune_tui import jobs
from ptune_tui.events import Event
from ptune_tui.jobs import Job
from ptune_tui.tui.progress import TaskProgress


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

    @property
    def is_active(self) -> bool:
        """Whether more is to come."""
        return not self.state.task.is_over or self.job.may_go_on

    def poll(self) -> bool:
        """Take in the new events; says whether there were any."""
        was_alive = self.job.is_alive()  # asked first, so that what it wrote last is read below
        changed = False
        for event in self.job.events():
            self.state.add(event)
            changed = True
        if not was_alive and self.is_active:
            for event in jobs.follow(self.job):  # does not wait: the worker is gone
                self.state.add(event)
                changed = True
        return changed


def end(followed: Followed[Any] | None) -> None:
    """End a worker that still goes on; that may take seconds, and the app goes on.

    Args:
        followed (Followed[Any] | None): The worker; None for nothing to end.
    """
    if followed is not None and followed.is_active:
        threading.Thread(target=followed.job.kill, daemon=True).start()
