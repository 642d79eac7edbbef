"""Setup: the form of a run, whether it fits, its first rows, and the command that does the same."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Button, Static

from ptune_tui.config import RunConfig
from ptune_tui.errors import PTuneError
from ptune_tui.models import local_model
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.command_line import train_command
from ptune_tui.tui.fields import (
    DATA_FILE,
    OWN_FILE,
    form_fields,
    known_models,
    read_form,
    write_form,
)
from ptune_tui.tui.fitting import fit_line
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.field_row import UP_AND_DOWN, FieldRow, Form, row_id
from ptune_tui.tui.widgets.preview_pane import PreviewPane

SETTLE_SECONDS = 0.4  # after the last key, before the machine and the data are looked at
FIT_MARKS = {"fits": "✓", "tight": "!", "does not fit": "✗", None: "?"}


class SetupScreen(PlaceScreen):
    """The form of a run."""

    PLACE: ClassVar[str] = "setup"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("setup"), *UP_AND_DOWN]
    AUTO_FOCUS = "#start"

    def __init__(self) -> None:
        super().__init__()
        self.config: RunConfig | None = None
        self._texts: dict[str, str] = {}
        self._is_local = False
        self._previewed: object = None
        self._settling: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Form and preview; below them the command and the button."""
        texts = write_form(self.ptune.session.run_config or RunConfig())
        suggestions = {"model.source": known_models()}
        with Horizontal(id="setup-body"):
            with Form(id="form"):
                for field in form_fields():
                    yield FieldRow(field, texts[field.name], suggestions.get(field.name))
            yield PreviewPane(id="preview")
        yield Static("", id="command", markup=False)
        with Horizontal(id="start-line"):
            yield Button("Start training", variant="primary", id="start", compact=True)
            yield Static("", id="fit", markup=False)

    def on_mount(self) -> None:
        """Check the form as it is at first."""
        self._check()

    def on_field_row_changed(self) -> None:
        """Check again."""
        self._check()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Start needs a form that is right; None shows the key as disabled."""
        if action == "start" and (self.config is None or self.ptune.session.is_training):
            return None
        if action == "preview" and self.config is None:
            return None
        return super().check_action(action, parameters)

    @on(Button.Pressed, "#start")
    def action_start(self) -> None:
        """Start to train, and show it."""
        if self.config is None or self.ptune.session.is_training:
            return
        try:
            self.ptune.session.start_run(self.config)
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
            return
        self.ptune.action_show_place("train")

    def action_preview(self) -> None:
        """Tokenise the first rows."""
        if self.config is not None:
            self._start_preview(self.config)

    def action_defaults(self) -> None:
        """Put every field back."""
        for name, text in write_form(RunConfig()).items():
            self._row(name).text = text

    def show_state(self) -> None:
        """Draw the preview and the button."""
        followed = self.ptune.session.preview
        pane = self.query_one(PreviewPane)
        pane.show(followed.state if followed else None, is_local=self._is_local)
        is_training = self.ptune.session.is_training
        button = self.query_one("#start", Button)
        button.disabled = self.config is None or is_training
        button.label = "Training..." if is_training else "Start training"

    def _check(self) -> None:
        """Read the form, show what is wrong, and look at the rest once the keys have settled."""
        texts = {field.name: self._row(field.name).text for field in form_fields()}
        if texts == self._texts:
            return  # every input says that it has changed when it is mounted
        self._texts = texts
        self._row(DATA_FILE).display = texts["data.train"] == OWN_FILE
        self.config, problems = read_form(texts)
        for field in form_fields():
            self._row(field.name).show_problem(problems.get(field.name, ""))
        command = f"$ {train_command(self.config)}" if self.config else "$ (a field is wrong)"
        self.query_one("#command", Static).update(command)
        self.refresh_place()
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE_SECONDS, self._look)

    @work(exclusive=True)
    async def _look(self) -> None:
        """Estimate the memory, and preview the rows where that needs no download."""
        config = self.config
        fit = self.query_one("#fit", Static)
        if config is None:
            wrong = len(self.query(".field.-wrong"))
            fit.update(f"✗ {wrong} field{'s are' if wrong > 1 else ' is'} wrong")
            fit.set_classes("-does-not-fit")
            return
        line = await asyncio.to_thread(fit_line, config)
        fit.update(f"{FIT_MARKS[line.fit]} {line.text}")
        fit.set_classes(f"-{line.fit}".replace(" ", "-") if line.fit else "")
        self._is_local = local_model(config.model.source) is not None
        if self._is_local and self._previewed != (config.model, config.data):
            self._start_preview(config)
        self.refresh_place()

    def _start_preview(self, config: RunConfig) -> None:
        self._previewed = (config.model, config.data)
        try:
            self.ptune.session.start_preview(config)
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
        self.refresh_place()

    def _row(self, name: str) -> FieldRow:
        return self.query_one(f"#{row_id(name)}", FieldRow)
