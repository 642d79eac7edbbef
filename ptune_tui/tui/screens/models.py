"""Models to choose from: those of this disk, and a short catalogue with licence, size and fit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from ptune_tui.config import RunConfig
from ptune_tui.errors import UsageError
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.form_values import check_model
from ptune_tui.tui.model_choice import (
    ModelRow,
    describe_model,
    fit_word,
    is_model_folder,
    model_rows,
)
from ptune_tui.tui.path_completion import is_model_file
from ptune_tui.tui.screens.choosing import Choosing, ChoosingScreen, Take
from ptune_tui.tui.screens.files import FilesScreen
from ptune_tui.tui.wording import bytes_text

NAME_WIDTH = 35
HEADING = f"{'':{NAME_WIDTH}}weights   size {'licence':12} here"
_FIT_STYLES = {"fits": "$text-success", "tight": "$text-warning", "does not fit": "$text-error"}


class ModelsScreen(ChoosingScreen):
    """Model list.

    Args:
        config (RunConfig): The form, for the fit.
        take (Callable[[str], None]): Called with the model that is chosen.
    """

    PLACE: ClassVar[str] = "models"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("models")]

    def __init__(self, config: RunConfig, take: Take) -> None:
        choosing = Choosing(
            "model",
            "press / to write a path or a hub id: owner/name",
            is_model_file,
            check_written,
            lambda source: describe_model(source, config),
            HEADING,
        )
        super().__init__(choosing, take)
        self.config = config

    def on_mount(self) -> None:
        """Read the cache, and estimate each model."""
        self._read()

    @work(exclusive=True, group="list")
    async def _read(self) -> None:
        rows = await asyncio.to_thread(model_rows, self.config)
        here = [Option(row_text(row), row.source) for row in rows if row.is_here]
        others = [Option(row_text(row), row.source) for row in rows if not row.is_here]
        options: list[Option | None] = [*here, None, *others] if here else [*others]
        self.show_options(options, self.config.model.source)

    def action_browse(self) -> None:
        """Look for a model folder or a GGUF file on this disk."""
        self.ptune.push_screen(model_files(self.config, self._take_file))

    def _take_file(self, path: str) -> None:
        self.dismiss()
        self.take(path)


def check_written(text: str) -> str:
    """Any path that is there, cached name or hub id.

    Args:
        text (str): As it is written.

    Raises:
        UsageError: It is none of these.
    """
    check_model(text)
    return text


def model_files(config: RunConfig, take: Take) -> FilesScreen:
    """The file browser for models.

    Args:
        config (RunConfig): The form, for the fit.
        take (Callable[[str], None]): Called with the path that is chosen.
    """

    def check(path: Path) -> None:
        if not (is_model_folder(path) if path.is_dir() else is_model_file(path)):
            raise UsageError(
                f"{path} is not a model: a GGUF file, or a folder with config.json and safetensors."
            )

    return FilesScreen(
        "a model folder or a GGUF file",
        near=config.model.source,
        is_offered=is_model_file,
        is_whole=is_model_folder,
        check=check,
        about=lambda path: describe_model(path, config),
        take=take,
    )


def row_text(row: ModelRow) -> Content:
    """A model in a line: name, weights, size, licence, fit.

    Args:
        row (ModelRow): The model.
    """
    name = row.name if len(row.name) <= NAME_WIDTH else f"{row.name[: NAME_WIDTH - 1]}…"
    licence = (row.licence or "not stated") + ("*" if row.is_gated else "")
    return Content.assemble(
        f"{name:{NAME_WIDTH}} {_weights(row.num_parameters):>6} {bytes_text(row.num_bytes):>6} ",
        (f"{licence:12.12} ", "dim"),
        (fit_word(row.fit.fit), _FIT_STYLES.get(row.fit.fit or "", "")),
    )


def _weights(number: int | None) -> str:
    if number is None:
        return ""
    return f"{number / 1e9:.1f} B" if number >= 995e6 else f"{number / 1e6:.0f} M"
