"""The bundle that one talks to, and the child that answers from it. Draws nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ptune_tui.run_index import run_location
from ptune_tui.tui.export_state import ExportState

if TYPE_CHECKING:
    from ptune_tui.chats import ChatProcess


class Talk:
    """What Chat opens.

    Args:
        bundle (Path | None): A bundle to talk to.

    Attributes:
        bundle: Its folder.
        prompt: Which of its prompts answers first; None for the first.
        num_written: How many bundles were written: the one that is open may have changed.
        child: The process that answers.
    """

    def __init__(self, bundle: Path | None = None) -> None:
        self.bundle = bundle
        self.prompt: str | None = None
        self.num_written = 0
        self.child: ChatProcess | None = None

    @property
    def opened(self) -> tuple[Path | None, int]:
        """Which bundle, and which writing of it."""
        return self.bundle, self.num_written

    def open(self, bundle: Path) -> None:
        """Talk to a bundle; to its first prompt where it is another than before.

        Args:
            bundle (Path): Its folder.
        """
        if self.bundle is None or bundle.absolute() != self.bundle.absolute():
            self.bundle, self.prompt = bundle, None

    def take_export(self, export: ExportState) -> None:
        """Talk to what an export has written, if that is a bundle.

        One of another terminal does not take the place of a bundle that one talks to.

        Args:
            export (ExportState): It has ended.
        """
        if export.bundle is None:
            return
        is_open = self.bundle is None or run_location(self.bundle) == run_location(export.bundle)
        if is_open or not export.is_anothers:
            self.bundle, self.prompt = export.bundle, export.asked.prompt_name
            self.num_written += 1

    def is_of(self, run: Path) -> bool:
        """Whether the bundle lies in a run, whatever leads to it.

        Args:
            run (Path): The run's folder.
        """
        if self.bundle is None:
            return False
        return run_location(run) in map(run_location, self.bundle.absolute().parents)

    def end(self) -> None:
        """End the child, at once."""
        if self.child is not None:
            self.child.kill()
            self.child = None
