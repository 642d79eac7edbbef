"""What is known of a data preview, folded from its events. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ptune_tui.config import DataConfig
from ptune_tui.events import Event, PreviewMade, TaskFailed
from ptune_tui.tasks import PreviewTask
from ptune_tui.tui.progress import TaskProgress


@dataclass
class PreviewState:
    """What is known of a preview.

    Attributes:
        task: How it goes.
        asked: What is looked at.
        made: Its rows; until they are there, those of the preview before.
    """

    task: TaskProgress
    asked: PreviewTask
    made: PreviewMade | None = None

    def add(self, event: Event) -> None:
        """Take in one event."""
        self.task.add(event)
        if isinstance(event, PreviewMade):
            self.made = event
        elif isinstance(event, TaskFailed):
            self.made = None

    @property
    def unreadable(self) -> TaskFailed | None:
        """Why no run can read the rows; None where they can be read, or that is not known."""
        failure = self.task.failure
        return failure if failure is not None and failure.category == "data" else None

    def is_of(self, model: str, data: DataConfig) -> bool:
        """Whether these are the rows of a form.

        Args:
            model (str): Whose tokens are shown.
            data (DataConfig): Which rows.
        """
        return (self.asked.model.source, self.asked.data) == (model, data)
