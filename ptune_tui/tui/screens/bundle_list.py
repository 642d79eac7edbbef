"""Bundles to talk to: those of runs, those exported elsewhere, and any folder of one's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from ptune_tui.bundles import is_bundle
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.bundle_choice import (
    BundleRow,
    bundle_rows,
    check_bundle,
    describe_bundle,
)
from ptune_tui.tui.screens.choosing import Choosing, ChoosingScreen, Take
from ptune_tui.tui.screens.files import FilesScreen
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.wording import path_text
from ptune_tui.tui.written_path import written_path


class BundleFilesScreen(FilesScreen):
    """The file browser, opened from Chat."""

    TAB: ClassVar[str] = "chat"


class BundlesScreen(ChoosingScreen):
    """Bundle list.

    Args:
        take (Callable[[str], None]): Called with the folder that is chosen.
    """

    PLACE: ClassVar[str] = "bundles"
    TAB: ClassVar[str] = "chat"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("bundles")]

    def __init__(self, take: Take) -> None:
        choosing = Choosing(
            "bundle",
            "press / to write a path",
            lambda _: False,
            written_bundle,
            describe_bundle,
            heading="Reading the runs ...",
        )
        super().__init__(choosing, take)

    def on_mount(self) -> None:
        """Read the runs."""
        self._read()

    @work(exclusive=True, group="list")
    async def _read(self) -> None:
        session = self.ptune.session
        rows = await asyncio.to_thread(bundle_rows, session.listing, session.bundle)
        options: list[Option | None] = []
        origin = ""
        for row in rows:
            if row.origin != origin:
                origin = row.origin
                options.append(Option(Content.styled(origin, "dim"), disabled=True))
            options.append(Option(row_text(row), str(row.path)))
        browse = self.ptune.keymap.name("bundles.browse")
        words = "No bundle is known here; " if not rows else ""
        heading = f"{words}{browse} looks for a folder of yours."
        for line in self.query("#choices-heading").results(Steady):  # none while the page goes away
            line.show_text(heading)
        self.show_options(options, str(session.bundle))

    def action_browse(self) -> None:
        """Look for a bundle on this disk."""
        self.ptune.push_screen(
            BundleFilesScreen(
                "the folder of a bundle",
                near=self.highlighted or "",
                is_offered=lambda _: False,
                is_whole=is_bundle,
                check=check_bundle,
                about=describe_bundle,
                take=self._take_folder,
            )
        )

    def _take_folder(self, path: str) -> None:
        self.dismiss()
        self.take(str(Path(path)))


def written_bundle(text: str) -> str:
    """The folder that a text names.

    Args:
        text (str): What was written.

    Raises:
        PTuneError: It holds no bundle.
    """
    path = written_path(text)
    check_bundle(path)
    return str(path)


def row_text(row: BundleRow) -> Content:
    """A bundle in a line.

    Args:
        row (BundleRow): The bundle.
    """
    prompts = ", ".join(row.card.prompts)
    return Content.assemble(f"  {path_text(row.path)}", (f"  {prompts}", "dim"))
