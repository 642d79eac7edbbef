"""Data sets to choose from: built-in ones, those of earlier runs, files, and what each holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

import msgspec
from textual import work
from textual.binding import BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from ptune_tui.config import DataConfig
from ptune_tui.errors import UsageError
from ptune_tui.reading.formats import FORMATS
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.data_choice import DataRow, data_rows, describe_data
from ptune_tui.tui.fields import DATA, VALIDATION, form_fields
from ptune_tui.tui.form_values import checked
from ptune_tui.tui.path_completion import is_data_file
from ptune_tui.tui.screens.choosing import Choosing, ChoosingScreen, Take
from ptune_tui.tui.screens.files import FilesScreen


class DataSetsScreen(ChoosingScreen):
    """Data list.

    Args:
        data (DataConfig): The form's.
        take (Callable[[str], None]): Called with the data set that is chosen.
        is_validation (bool): Whether it is for validation; built-in sets have their own.
    """

    PLACE: ClassVar[str] = "data"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("data")]
    LOOKS_AWAY: ClassVar[bool] = True

    def __init__(self, data: DataConfig, take: Take, *, is_validation: bool = False) -> None:
        choosing = Choosing(
            "validation" if is_validation else "data",
            "press / to write a path, FOLDER:SPLIT, or a hub id: owner/name",
            is_data_file,
            self._check_written,
            self._describe,
        )
        super().__init__(choosing, take)
        self.data = data
        self.is_validation = is_validation

    def on_mount(self) -> None:
        """Read the folders."""
        self._read()

    @work(exclusive=True, group="list")
    async def _read(self) -> None:
        rows = await asyncio.to_thread(data_rows)
        rows = [row for row in rows if not (self.is_validation and row.origin == "built in")]
        options: list[Option | None] = []
        origin = ""
        for row in rows:
            if row.origin != origin:
                origin = row.origin
                options.append(Option(Content.styled(origin, "dim"), disabled=True))
            options.append(Option(row_text(row), row.source))
        if not rows:
            options.append(Option("Nothing was used before; b looks for files.", disabled=True))
        chosen = (self.data.validation or "") if self.is_validation else self.data.train
        self.show_options(options, chosen)

    def _check_written(self, text: str) -> str:
        """Any file or folder that is there, a hub id, or a built-in set."""
        name = VALIDATION if self.is_validation else DATA
        field = next(field for field in form_fields() if field.name == name)
        checked(field, text)
        return text

    def _describe(self, source: str) -> list[str]:
        """What a data set holds, with the columns that the form names."""
        data = msgspec.structs.replace(self.data, train=source, validation=None)
        return describe_data(data, is_validation=self.is_validation)

    def action_browse(self) -> None:
        """Look for a data file or folder on this disk."""
        near = (self.data.validation or "") if self.is_validation else self.data.train

        def check(path: Path) -> None:
            if path.is_file() and not is_data_file(path):
                raise UsageError(f"{path} is of a type that cannot be read: {FORMATS}.")

        self.ptune.push_screen(
            FilesScreen(
                "a data file or folder",
                near=near,
                is_offered=is_data_file,
                check=check,
                about=self._describe,
                take=self._take_file,
            )
        )

    def _take_file(self, path: str) -> None:
        self.dismiss()
        self.take(path)


def row_text(row: DataRow) -> Content:
    """A data set in a line.

    Args:
        row (DataRow): The data set.
    """
    return Content.assemble(f"  {row.source}", (f"  {row.note}" if row.note else "", "dim"))
