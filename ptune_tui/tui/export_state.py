"""An export as the app shows it, folded from its events. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ptune_tui.events import Event, ExportDone, ParityMeasured, Stage, TaskFailed
from ptune_tui.run_index import run_location
from ptune_tui.tasks import ExportTask
from ptune_tui.tui.progress import TaskProgress, progress_of
from ptune_tui.tui.wording import bytes_text

BUNDLE_STAGES: tuple[Stage, ...] = ("load", "build", "parity", "write")
FOLDER_STAGES: tuple[Stage, ...] = ("load", "build", "write")


@dataclass
class ExportState:
    """What is known of an export.

    Attributes:
        asked: What is exported, and where to.
        task: Stages, notices and ending.
        parities: What the exported graphs were measured at.
        done: What was written, once it is in place.
        is_cancelled: Whether it was told to end.
        is_anothers: Whether a command in another terminal has begun it and waits for it.
    """

    asked: ExportTask
    task: TaskProgress = field(init=False)
    parities: list[ParityMeasured] = field(default_factory=list)
    done: ExportDone | None = None
    is_cancelled: bool = False
    is_anothers: bool = False

    def __post_init__(self) -> None:
        is_bundle = self.asked.format == "bundle"
        self.task = progress_of(BUNDLE_STAGES if is_bundle else FOLDER_STAGES)

    @property
    def bundle(self) -> Path | None:
        """The bundle that answers with the prompt now."""
        if self.done is None or self.asked.format != "bundle":
            return None
        return Path(self.done.path)

    @property
    def failure(self) -> TaskFailed | None:
        """The error it ended with; an export that was cancelled has none."""
        return None if self.is_cancelled else self.task.failure

    def is_of(self, run: Path) -> bool:
        """Whether it is a run's, whatever leads to its folder.

        Args:
            run (Path): The run's folder.
        """
        return run_location(Path(self.asked.run)) == run_location(run)

    def concerns(self, run: Path) -> bool:
        """Whether it reads a run, or writes into its folder.

        Args:
            run (Path): The run's folder.
        """
        written = run_location(Path(self.asked.destination))
        return self.is_of(run) or run_location(run) in written.parents

    def add(self, event: Event) -> None:
        """Take in one event."""
        self.task.add(event)
        match event:
            case ParityMeasured():
                self.parities.append(event)
            case ExportDone():
                self.done = event
                self.task.mark_done("write", bytes_text(event.num_bytes))
            case _:
                pass
