"""A file browser: one folder at a time, only what is wanted, with what it holds beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Input
from textual.widgets.option_list import Option

from ptune_tui.errors import PTuneError, UsageError, explain
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.folder_entries import FolderEntries, FolderEntry, entries_of
from ptune_tui.tui.path_completion import Completion, written_parts
from ptune_tui.tui.screens.choosing import Choosing, ChoosingScreen, Take
from ptune_tui.tui.wording import bytes_text, path_text
from ptune_tui.tui.written_path import written_path

UP = ".."


class FilesScreen(ChoosingScreen):
    """The browser.

    Args:
        wanted (str): What is looked for, in words.
        near (str): What is chosen now; the browser begins beside it, where it is a path.
        is_offered (Callable[[Path], bool]): Whether a file is of a wanted type.
        check (Callable[[Path], None]): Raises a `PTuneError` for what cannot be taken.
        about (Callable[[str], list[str]]): What is known of a path, a sentence each.
        take (Callable[[str], None]): Called with the path that is chosen.
        is_whole (Callable[[Path], bool]): Whether a folder is taken as it is, not opened.
    """

    PLACE: ClassVar[str] = "files"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("files")]

    def __init__(
        self,
        wanted: str,
        *,
        near: str,
        is_offered: Callable[[Path], bool],
        check: Callable[[Path], None],
        about: Callable[[str], list[str]],
        take: Take,
        is_whole: Callable[[Path], bool] = lambda _: False,
    ) -> None:
        choosing = Choosing(
            "folder",
            "press / to write a path",
            is_offered,
            self._check_written,
            self._describe,
            f"{wanted}:",
            keeps_text=True,
        )
        super().__init__(choosing, take)
        self.wanted = wanted
        self.folder = beside(near)
        self._near = str(self.folder / Path(near).name)
        self._is_offered = is_offered
        self._check = check
        self._about = about
        self._is_whole = is_whole

    def on_mount(self) -> None:
        """Read the folder."""
        self._open(self.folder)

    def action_up(self) -> None:
        """The folder above."""
        self._near = str(self.folder)
        self._open(self.folder.parent)

    def action_home(self) -> None:
        """The user's own folder."""
        self._open(Path.home())

    def action_open(self) -> None:
        """Open the highlighted folder, or take the file."""
        wanted = self._wanted()
        if not wanted:
            return
        try:
            path = written_path(wanted)
            opens = path.is_dir() and not self._is_whole(path)
        except (PTuneError, OSError) as error:
            self.show_problem(explain(error).message)
            return
        if wanted == UP:
            self.action_up()
        elif opens:
            self._open(path)
        else:
            self.action_take()

    def _check_written(self, text: str) -> str:
        """What can be taken, as an absolute path."""
        path = self.folder if text == UP else written_path(text)
        path.stat()
        self._check(path)
        return str(path)

    def action_take(self) -> None:
        """Take what is written, or highlighted, a folder as a whole."""
        try:
            super().action_take()
        except OSError as error:
            self.show_problem(explain(error).message)

    def _describe(self, source: str) -> list[str]:
        """What is known of an entry."""
        path = self.folder if source == UP else Path(source)
        try:
            if source == UP or (path.is_dir() and not self._is_whole(path)):
                return [f"A folder: {path_text(path)}", *self._about_folder(path)]
            return self._about(source)
        except OSError as error:
            return [f"✗ {explain(error).message}"]

    def choose(self) -> None:
        """Enter opens folders."""
        self.action_open()

    def _about_folder(self, folder: Path) -> list[str]:
        """What one would find in a folder."""
        found = entries_of(folder, self._is_offered, self._is_whole).entries
        files = [entry for entry in found if entry.is_whole or not entry.is_folder]
        names = [entry.path.name for entry in files[:8]]
        if not files:
            return [f"It holds no {self.wanted.removeprefix('a ')}."]
        more = [f"  and {len(files) - 8} more"] if len(files) > 8 else []
        return [*(f"  {name}" for name in names), *more]

    @work(exclusive=True, group="list")
    async def _open(self, folder: Path) -> None:
        line = self.query_one("#written", Input)
        written = line.value
        try:
            found = await asyncio.to_thread(entries_of, folder, self._is_offered, self._is_whole)
        except OSError as error:
            self.show_problem(explain(error).message)
            return
        if not line.is_attached or line.value != written:  # the user writes another one
            return
        self.show_problem("")
        line.value = f"{path_text(folder).rstrip('/')}/"
        self._show_entries(folder, found)
        self.query_one("#choices").focus()

    def show_candidates(self, completion: Completion) -> None:
        """The list shows what the line may become; it stays where that is nothing."""
        if completion.candidates:
            self._narrow(completion.written)

    @work(exclusive=True, group="list")
    async def _narrow(self, written: str) -> None:
        name, start = written_parts(written)
        try:
            folder = written_path(name)
            found = await asyncio.to_thread(
                entries_of, folder, self._is_offered, self._is_whole, start
            )
        except (PTuneError, OSError):
            return  # it was there a moment ago
        self._show_entries(folder, found)

    def _show_entries(self, folder: Path, found: FolderEntries) -> None:
        self.folder = folder
        paths = [str(entry.path) for entry in found.entries]
        options: list[Option | None] = [Option("../", UP)]
        options += [
            Option(entry_text(entry), path)
            for path, entry in zip(paths, found.entries, strict=True)
        ]
        if found.num_left_out:
            words = f"and {found.num_left_out:,} more: write how the name begins"
            options.append(Option(Content.styled(words, "dim"), disabled=True))
        self._looked_at = ""
        self.show_options(options, self._near if self._near in paths else (paths or [UP])[0])


def beside(text: str) -> Path:
    """The folder to begin in: that of a path that is there, else the working folder.

    Args:
        text (str): What a field holds.
    """
    try:
        path = written_path(text)
    except UsageError:
        return Path.cwd()
    is_beside = path != Path.cwd() and path.parent.is_dir()
    return path.parent if is_beside else Path.cwd()


def entry_text(entry: FolderEntry) -> Content:
    """An entry in a line.

    Args:
        entry (FolderEntry): The entry.
    """
    name = entry.path.name
    if entry.is_folder:
        kind = "  ◂ to take" if entry.is_whole else ""
        return Content.assemble((f"{name}/", "bold"), (kind, "$text-success"))
    return Content.assemble(f"{name}  ", (bytes_text(entry.num_bytes), "dim"))
