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

from ptune_tui.command_line import train_command
from ptune_tui.config import DataConfig, RunConfig
from ptune_tui.errors import PTuneError
from ptune_tui.models import local_model
from ptune_tui.presets import PRESETS
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.fields import (
    NO_PRESET,
    PRESET,
    as_text,
    form_fields,
    is_shown,
    known_models,
    read_form,
    write_form,
)
from ptune_tui.tui.fitting import fit_line
from ptune_tui.tui.preset_form import PRESET_FIELDS, changes, preset_texts
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
        defaults = {field.name: field.default for field in form_fields()}
        self._filled = {name: defaults[name] for name in PRESET_FIELDS}
        self._filled_for: tuple[str, DataConfig | None] = (NO_PRESET, None)
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
            yield Button("Find rate", id="find-rate", compact=True)
            yield Static("", id="fit", markup=False)

    def on_mount(self) -> None:
        """Check the form as it is at first."""
        self._check()

    def on_field_row_changed(self) -> None:
        """Check again."""
        self._check()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Start needs a form that is right; None shows the key as disabled."""
        if action in ("start", "find_rate") and not self._can_work():
            return None
        if action == "preview" and self.config is None:
            return None
        return super().check_action(action, parameters)

    @on(Button.Pressed, "#start")
    def action_start(self) -> None:
        """Start to train, and show it."""
        if self.config is None or not self._can_work():
            return
        try:
            self.ptune.session.start_run(self.config)
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
            return
        self.ptune.action_show_place("train")

    @on(Button.Pressed, "#find-rate")
    def action_find_rate(self) -> None:
        """Start a range test of learning rates, and show it."""
        if self.config is None or not self._can_work():
            return
        try:
            self.ptune.session.start_rate_test(self.config)
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
            return
        from ptune_tui.tui.screens.rate import RateScreen  # numpy: not before it is needed

        self.ptune.push_screen(RateScreen(self._take_rate))

    def action_preview(self) -> None:
        """Tokenise the first rows."""
        if self.config is not None:
            self._start_preview(self.config)

    def action_defaults(self) -> None:
        """Put every field back."""
        for name, text in write_form(RunConfig()).items():
            self._row(name).text = text

    def _take_rate(self, rate: float) -> None:
        self._row("training.learning_rate").text = as_text(float(f"{rate:.3g}"))

    def _can_work(self) -> bool:
        """Whether the form is right and filled in, and the machine free."""
        is_ready = self.config is not None and self._filled_for == self._to_fill_for()
        return is_ready and not self.ptune.session.is_training

    def _to_fill_for(self) -> tuple[str, DataConfig | None]:
        """The preset, and the data that it looks at."""
        name = self._texts.get(PRESET, NO_PRESET)
        return name, self.config.data if self.config and name != NO_PRESET else None

    def show_state(self) -> None:
        """Draw the preview and the button."""
        followed = self.ptune.session.preview
        pane = self.query_one(PreviewPane)
        pane.show(followed.state if followed else None, is_local=self._is_local)
        is_training = self.ptune.session.is_training
        button = self.query_one("#start", Button)
        button.disabled = self.query_one("#find-rate", Button).disabled = not self._can_work()
        button.label = "Training..." if is_training else "Start training"

    def _check(self) -> None:
        """Read the form, show what is wrong, and look at the rest once the keys have settled."""
        texts = {field.name: self._row(field.name).text for field in form_fields()}
        if texts == self._texts:
            return  # every input says that it has changed when it is mounted
        self._texts = texts
        for field in form_fields():
            self._row(field.name).display = is_shown(field.name, texts)
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
        await self._fill_in()
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

    async def _fill_in(self) -> None:
        """Let the preset fill its fields; what the user wrote in one of them stays."""
        wanted = self._to_fill_for()
        name, data = wanted
        preset = next((known for known in PRESETS if known == name), None)
        if wanted == self._filled_for or (preset is not None and data is None):
            return  # a preset looks at the data, and a form that is wrong may be wrong there
        try:
            filled = await asyncio.to_thread(preset_texts, preset, data or DataConfig())
        except PTuneError as error:
            self._row(PRESET).show_problem(error.message)
            return
        self._filled_for = wanted
        word = "default" if preset is None else name
        for field, text in changes(self._texts, self._filled, filled).items():
            self._row(field).text = text
        self._filled = filled
        for field, text in filled.items():
            self._row(field).show_filled(text, word)

    def _start_preview(self, config: RunConfig) -> None:
        self._previewed = (config.model, config.data)
        try:
            self.ptune.session.start_preview(config)
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
        self.refresh_place()

    def _row(self, name: str) -> FieldRow:
        return self.query_one(f"#{row_id(name)}", FieldRow)
