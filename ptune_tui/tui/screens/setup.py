"""Setup: the form of a run, whether it fits, its first rows, and the command that does the same."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Button, Static

from ptune_tui.command_line import train_command
from ptune_tui.config import DataConfig, RunConfig
from ptune_tui.errors import PTuneError, explain
from ptune_tui.events import TaskFailed
from ptune_tui.presets import PRESETS
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.fields import (
    DATA,
    MODEL,
    NO_PRESET,
    PRESET,
    VALIDATION,
    as_text,
    form_fields,
)
from ptune_tui.tui.fitting import FitLine, fit_line
from ptune_tui.tui.form_values import write_form
from ptune_tui.tui.model_choice import FIT_MARKS
from ptune_tui.tui.preset_form import PRESET_FIELDS, changes, preset_texts
from ptune_tui.tui.screens.setup_pages import SetupPages
from ptune_tui.tui.start_refusal import refusal, unreadable_rows, wrong_form
from ptune_tui.tui.widgets.command_line import CommandLine
from ptune_tui.tui.widgets.field_row import UP_AND_DOWN
from ptune_tui.tui.widgets.preview_pane import PreviewPane
from ptune_tui.tui.widgets.setup_form import SetupForm

_ABOVE = {MODEL, DATA, VALIDATION}  # what has to be right before a template can be tried
SETTLE_SECONDS = 0.4  # after the last key, before the machine and the data are looked at


class SetupScreen(SetupPages):
    """The form of a run."""

    PLACE: ClassVar[str] = "setup"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("setup"), *UP_AND_DOWN]
    AUTO_FOCUS = "#start"

    def __init__(self) -> None:
        super().__init__()
        defaults = {field.name: field.default for field in form_fields()}
        self._filled = {name: defaults[name] for name in PRESET_FIELDS}
        self._filled_for: tuple[str, DataConfig | None] = (NO_PRESET, None)
        self._settling: Timer | None = None
        self._is_previewing = False
        self._before_defaults: dict[str, str] = {}
        self._fit = FitLine(None, "")
        self._drawn_fit: FitLine | None = None

    def compose_body(self) -> ComposeResult:
        """Form and preview; below them the command and the button."""
        with Horizontal(id="setup-body"):
            yield SetupForm(self.ptune.session.run_config or RunConfig())
            yield PreviewPane(id="preview")
        yield CommandLine(id="command")
        with Horizontal(id="start-line"):
            yield Button("Start training", variant="primary", id="start", compact=True)
            yield Button("Find rate", id="find-rate", compact=True)
            yield Static("", id="fit", markup=False)

    def on_screen_resume(self) -> None:
        """Look again: the machine, the data and the rows that are shown may be others now."""
        super().on_screen_resume()
        if self.query(SetupForm):
            self._settle()

    @on(SetupForm.Changed)
    def _form_changed(self) -> None:
        """Show the command, and look at the rest once the keys have settled."""
        config = self.config
        self.query_one(CommandLine).show_command(train_command(config) if config else None)
        self.refresh_place()
        self._settle()

    @property
    def config(self) -> RunConfig | None:
        """What it says; None where a field is wrong."""
        return self.form.config

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Start needs a form that is right; None shows the key as disabled."""
        if self.query(SetupForm):
            if action in ("start", "find_rate") and not self._can_work():
                return None
            if action in ("preview", "copy") and self.config is None:
                return None
            if action == "edit_template" and _ABOVE & self.form.problems.keys():
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
        """Put every field back; where all are, bring back what stood there before."""
        defaults, texts = write_form(RunConfig()), dict(self.form.texts)
        if any(texts.get(name) != text for name, text in defaults.items()):
            self._before_defaults = texts
            self.form.write(defaults)
            key = self.ptune.keymap.name("setup.defaults")
            self.notify(f"Every field is at its default; {key} takes that back.")
        elif self._before_defaults:
            self.form.write(self._before_defaults)
            self._before_defaults = {}

    @on(CommandLine.Pressed)
    def action_copy(self) -> None:
        """Copy the command that does the same."""
        if self.config is not None:
            self.ptune.copy_text(train_command(self.config), "the command")

    def action_all_fields(self) -> None:
        """Show every field, or only those that most runs set."""
        self.form.fold_all()

    def _take_rate(self, rate: float) -> None:
        self.form.write({"training.learning_rate": as_text(float(f"{rate:.3g}"))})

    def _can_work(self) -> bool:
        """Whether the form is right and filled in, and the machine free."""
        is_ready = self.config is not None and self._filled_for == self._to_fill_for()
        return is_ready and not self.ptune.session.is_busy and self._unreadable() is None

    def why_not(self, action: str) -> str:
        """Why neither a run nor a test can be started."""
        if action not in ("start", "find_rate"):
            return ""
        data, num_wrong = self.form.known.data, len(self.form.problems)
        return refusal(num_wrong, data, self._unreadable(), self.ptune.session.doing)

    def _unreadable(self) -> TaskFailed | None:
        """Why the rows of this form cannot be read, where the preview has found that out."""
        preview = self.ptune.session.trials.preview
        return None if preview is None or self._is_stale() else preview.state.unreadable

    def _to_fill_for(self) -> tuple[str, DataConfig | None]:
        """The preset, and the data that it looks at."""
        name = self.form.texts.get(PRESET, NO_PRESET)
        return name, self.config.data if self.config and name != NO_PRESET else None

    def show_state(self) -> None:
        """Draw the preview and the button."""
        session = self.ptune.session
        preview = session.trials.preview
        state = preview.state if preview else None
        is_local = session.trials.is_model_here(self.form.texts.get(MODEL, ""))
        self.query_one(PreviewPane).show(state, is_local=is_local, is_stale=self._is_stale())
        was_previewing = self._is_previewing
        self._is_previewing = preview is not None and preview.is_active
        if was_previewing and not self._is_previewing:
            self._settle()  # it may have fetched what the preset and the estimate look at
        self._draw_fit()
        button = self.query_one("#start", Button)
        button.disabled = self.query_one("#find-rate", Button).disabled = not self._can_work()
        button.label = f"{session.doing.capitalize()}..." if session.is_busy else "Start training"

    def _is_stale(self) -> bool:
        """Whether the rows that are shown are of another form."""
        preview, config = self.ptune.session.trials.preview, self.config
        if preview is None or config is None:
            return False
        return not preview.state.is_of(config.model.source, config.data)

    def _settle(self) -> None:
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE_SECONDS, self._look)

    @work(exclusive=True)
    async def _look(self) -> None:
        """Estimate the memory, and preview the rows where that needs no download."""
        await self._fill_in()
        config = self.config
        if config is None:
            self._show_fit(wrong_form(len(self.form.problems)))
            return
        self._show_fit(await asyncio.to_thread(fit_line, config))
        session = self.ptune.session
        await asyncio.to_thread(session.trials.look_for_model, config.model.source)
        is_shown = session.trials.preview is not None and not self._is_stale()
        if session.trials.is_model_here(config.model.source) and not is_shown and self.is_current:
            self._start_preview(config)
        self.refresh_place()

    def _show_fit(self, line: FitLine) -> None:
        self._fit = line
        self._draw_fit()

    def _draw_fit(self) -> None:
        """Say whether it fits; of rows that cannot be read, that no run can be started."""
        line = self._fit
        if self._unreadable() is not None and self.config is not None:
            line = unreadable_rows(self.config.data)
        if line == self._drawn_fit:
            return  # a run that goes on asks twice a second, and a new text lays the place out
        self._drawn_fit = line
        fit = self.query_one("#fit", Static)
        words = f"{FIT_MARKS[line.fit]} {line.text}"
        fit.update(Content(f"{words}; {line.advice}" if line.advice else words))
        fit.set_classes(f"-{line.fit}".replace(" ", "-") if line.fit else "")
        fit.set_class(bool(line.advice), "-advised")

    async def _fill_in(self) -> None:
        """Let the preset fill its fields; what the user wrote in one of them stays."""
        wanted = self._to_fill_for()
        name, data = wanted
        preset = next((known for known in PRESETS if known == name), None)
        if wanted == self._filled_for or (preset is not None and data is None):
            return  # a preset looks at the data, and a form that is wrong may be wrong there
        try:
            filled = await asyncio.to_thread(preset_texts, preset, data or DataConfig())
        except (PTuneError, OSError) as error:
            self.form.rows[PRESET].show_problem(explain(error).message)
            return
        self.form.rows[PRESET].show_problem(self.form.problems.get(PRESET, ""))
        self._filled_for = wanted
        word = "default" if preset is None else name
        self.form.write(changes(self.form.texts, self._filled, filled))
        self._filled = filled
        for field, text in filled.items():
            self.form.rows[field].show_filled(text, word)

    def _start_preview(self, config: RunConfig) -> None:
        try:
            self.ptune.session.trials.start_preview(config.model, config.data)
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
        self.refresh_place()
