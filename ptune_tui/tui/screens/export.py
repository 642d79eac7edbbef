"""Export: what to make of a run, then each step of it, measured, as it goes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Static

from ptune_tui.errors import PTuneError
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.export_check import CheckedForm, check_form, default_destination
from ptune_tui.tui.export_choice import (
    FIELDS,
    KEEP,
    MAKES,
    ExportChoice,
    ExportSource,
    export_sources,
)
from ptune_tui.tui.run_rows import best_words
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.checklist import Checklist, ending_text
from ptune_tui.tui.widgets.field_row import UP_AND_DOWN, FieldRow, Form, row_id
from ptune_tui.tui.widgets.paging import scroll_pages
from ptune_tui.tui.widgets.run_panels import Notices, Problem
from ptune_tui.tui.widgets.steady import Steady

EMPTY = """\
No run to export yet. An export takes the soft prompt of a run that has ended.

{setup}  set up a run and start it; Enter takes the defaults
{train}  watch it; when it has ended, Enter leads here

What is made: a bundle that answers on a CPU without torch,
or a folder for onnxruntime alone, llama.cpp or transformers."""


class ExportScreen(PlaceScreen):
    """The form of an export, and its checklist."""

    PLACE: ClassVar[str] = "export"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_of("export"),
        *UP_AND_DOWN,
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]
    AUTO_FOCUS = "#export-start"

    def __init__(self) -> None:
        super().__init__()
        self.choice: ExportChoice | None = None
        self.sources: dict[str, ExportSource] = {}
        self._followed: Path | None = None  # the run that was shown elsewhere
        self._texts: dict[str, str] = {}
        self._preset: tuple[str, ...] = ()  # the run and what to make of it, of the last presets
        self._num_bundles = 0
        self._started: tuple[dict[str, str], str] = ({}, "")  # the last one's form and command

    def compose_body(self) -> ComposeResult:
        """The form, the command, the buttons; beside or below them the checklist."""
        yield Static("Reading the runs...", id="no-source", classes="empty", markup=False)
        with Vertical(id="export-body"):
            with Vertical(id="export-left"):
                with Form(id="export-form"):
                    for field in FIELDS:
                        yield FieldRow(field, field.default)
                yield Steady("", id="export-command")
                yield Steady("", id="export-space")
                with Horizontal(id="export-line"):
                    yield Button("Export", variant="primary", id="export-start", compact=True)
                    yield Button("Cancel", id="export-cancel", compact=True)
                    yield Button("Chat with it", variant="success", id="export-chat", compact=True)
            with VerticalScroll(id="checks-box"):
                yield Problem(id="problem")
                yield Steady("", id="export-ending")
                yield Notices(id="notices")
                yield Checklist(id="checks")

    def on_mount(self) -> None:
        """Name the box."""
        self.query_one("#checks-box").border_title = "what is done and measured"

    def on_screen_resume(self) -> None:
        """Read the runs again: another one may have ended."""
        self._read_sources()
        super().on_screen_resume()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """None shows a key as disabled."""
        session = self.ptune.session
        allowed = {
            "start": self._can_start(),
            "cancel": session.is_exporting,
            "copy": self.choice is not None or self.query_one(Problem).has_focus,
            "chat": self._has_bundle(),
        }
        return None if allowed.get(action) is False else super().check_action(action, parameters)

    @on(Button.Pressed, "#export-start")
    async def action_start(self) -> None:
        """Export what the form says."""
        await self._look()  # the disk may have changed since the last key
        if self.choice is None or not self._can_start():
            return
        try:
            self.ptune.session.start_export(self.choice.task())
            self._started = (self._texts, self.choice.command())
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
        self.refresh_place()

    @on(Button.Pressed, "#export-cancel")
    def action_cancel(self) -> None:
        """End the export."""
        self.ptune.session.cancel_export()
        self.refresh_place()

    @on(Button.Pressed, "#export-chat")
    def action_chat(self) -> None:
        """Talk to what was written."""
        export = self.ptune.session.export
        if export is not None and export.state.bundle is not None:
            self.ptune.session.talk.bundle = export.state.bundle
            self.ptune.action_show_place("chat")

    def action_copy(self) -> None:
        """Copy the error where it has the focus, else the command that does the same."""
        problem = self.query_one(Problem)
        if problem.has_focus:
            self.ptune.copy_text(problem.plain, "the error")
        elif self.choice is not None:
            self.ptune.copy_text(self.choice.command(), "the command")

    def action_page(self, pages: int) -> None:
        """Scroll what is done and measured, while the form has the focus."""
        scroll_pages(self.query_one("#checks-box", VerticalScroll), pages)

    def on_field_row_changed(self) -> None:
        """Check again."""
        self._check()

    def show_state(self) -> None:
        """Draw the export."""
        session = self.ptune.session
        if session.talk.num_written != self._num_bundles:
            self._num_bundles = session.talk.num_written
            self._check()  # the folder is taken now
            self.call_after_refresh(self._offer_chat)
        state = session.export.state if session.export else None
        self.query_one(Problem).show(state.failure if state else None, "The export")
        ending = self.query_one("#export-ending", Steady)
        ending.show_text(ending_text(state) if state else "")
        ending.display = bool(ending.plain)
        self.query_one(Notices).show(state.task.pinned if state else [])
        self.query_one(Checklist).show(state, self.ptune.clock())
        self._show_buttons()

    def _show_buttons(self) -> None:
        session = self.ptune.session
        start = self.query_one("#export-start", Button)
        start.disabled = not self._can_start()
        doing = session.doing or ("exporting" if session.is_exporting else "")
        start.label = f"{doing.capitalize()}..." if doing else "Export"
        self.query_one("#export-form").disabled = session.is_exporting
        self.query_one("#export-cancel").display = session.is_exporting
        self.query_one("#export-chat").display = self._has_bundle()

    def _offer_chat(self) -> None:
        """Let Enter talk to the bundle."""
        if self.is_current:
            self.query_one("#export-chat").focus()

    def _can_start(self) -> bool:
        session = self.ptune.session
        return self.choice is not None and not (session.is_busy or session.is_exporting)

    def _has_bundle(self) -> bool:
        export = self.ptune.session.export
        return export is not None and not export.is_active and export.state.bundle is not None

    @work(exclusive=True, group="sources")
    async def _read_sources(self) -> None:
        """Offer the runs that have ended with a prompt; one newly shown elsewhere is taken."""
        session = self.ptune.session
        wanted = session.run_to_export
        shown = session.run.job.folder if session.run is not None else None
        if session.export is not None and session.is_exporting:  # an earlier app may have begun it
            shown = Path(session.export.state.asked.run)
        sources = await asyncio.to_thread(export_sources, session.listing, wanted or shown)
        names = [source.word for source in sources]
        last = self._row("run").text
        are_others = list(self.sources) != names
        self.sources = dict(zip(names, sources, strict=True))
        if names and are_others:
            self._row("run").show_choices(names)
        preferred = wanted or (shown if shown != self._followed else None)
        chosen = next(
            (word for word, source in self.sources.items() if _is_same(source, preferred)), last
        )
        if chosen in self.sources:
            self._row("run").text = chosen
            if _is_same(self.sources[chosen], shown):
                self._followed = shown
        session.run_to_export = None
        name = self.ptune.keymap.name
        self.query_one("#no-source", Static).update(
            EMPTY.format(setup=name("app.setup"), train=name("app.train"))
        )
        self.query_one("#no-source").display = not self.sources
        self.query_one("#export-body").display = bool(self.sources)
        await self._look()
        if self.sources and self.is_current and self.focused is None:
            self.query_one("#export-start").focus()

    @work(exclusive=True, group="check")
    async def _check(self) -> None:
        await self._look()

    async def _look(self) -> None:
        """Read the form, fill in what follows from it, and show what is wrong."""
        if not self.sources:
            return
        await self._fill_in()
        texts = self._form()
        checked = await asyncio.to_thread(check_form, texts, self.sources)
        if texts == self._form():  # else another check is on its way
            self._texts = texts
            self._show_checked(checked)

    def _form(self) -> dict[str, str]:
        return {field.name: self._row(field.name).text for field in FIELDS}

    def _is_made(self) -> bool:
        """Whether the form still says what was exported last: then it is there, as it should be."""
        export = self.ptune.session.export
        is_done = export is not None and export.state.done is not None
        return is_done and self._texts == self._started[0]

    def _show_checked(self, checked: CheckedForm) -> None:
        make, is_made = self._texts["make"], self._is_made()
        shown = {
            "precision": make in MAKES[:2],
            "name": make in MAKES[:2],
            "dtype": make == "transformers folder",
            "taken": checked.is_taken and not self.ptune.session.is_exporting and not is_made,
        }
        for name, is_shown in shown.items():
            self._row(name).display = is_shown
        self.choice = checked.choice
        problems = {} if is_made else checked.problems
        for field in FIELDS:
            self._row(field.name).show_problem(problems.get(field.name, ""))
        command = self.choice.command() if self.choice else "(a field is wrong)"
        command = self._started[1] if is_made else command
        self.query_one("#export-command", Steady).show_text(f"$ {command}")
        line = self.query_one("#export-space", Steady)
        line.set_class(not checked.has_room, "-too-little")
        mark = "✓" if checked.has_room else "✗"
        line.show_text(f"{mark} {checked.space}" if checked.space else "")
        self.refresh_place()

    async def _fill_in(self) -> None:
        """The folder and the name that a run and what is made of it have by themselves."""
        run, make = self._row("run").text, self._row("make").text
        source = self.sources.get(run)
        if source is None or (run, make) == self._preset:
            return
        chosen = next(known for known in MAKES if known == make)
        sources = list(self.sources.values())
        folder = await asyncio.to_thread(default_destination, chosen, source, sources)
        is_other_run = self._preset[:1] != (run,)
        self._preset = (run, make)
        if is_other_run:
            self._row("name").text = source.prompt_name
            self._row("name").show_filled(source.prompt_name, "from its data")
            self._row("run").show_filled(run, best_words(source.summary))
        self._row("to").text = folder
        self._row("to").show_filled(folder, "in the run" if chosen != MAKES[1] else "found")
        self._row("taken").text = KEEP

    def _row(self, name: str) -> FieldRow:
        return self.query_one(f"#{row_id(name)}", FieldRow)


def _is_same(source: ExportSource, folder: Path | None) -> bool:
    return folder is not None and source.path.absolute() == folder.absolute()
