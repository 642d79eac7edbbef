"""The app: six places over one session, polled twice a second.

It runs no model: work is done by child processes that answer through files, and chats by one that
answers over pipes. So nothing native prints on the screen, and closing the app ends no run.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Static
from textual.worker import WorkerFailed

from ptune_tui.errors import PTuneError, explain
from ptune_tui.settings import Remembered, remember
from ptune_tui.tui.actions.action import Action
from ptune_tui.tui.bindings import ACTIONS, bindings_of
from ptune_tui.tui.leaving import Leaving
from ptune_tui.tui.needs import SECONDS_TOLD, Needs, rows_that_need
from ptune_tui.tui.palette import palette_commands
from ptune_tui.tui.places import MODES
from ptune_tui.tui.preferences import read_preferences
from ptune_tui.tui.terminal import TERMINAL_LOST, TerminalWatch
from ptune_tui.tui.themes import COLOURLESS_THEME, HIGH_CONTRAST

if TYPE_CHECKING:
    from textual.actions import ActionParseResult
    from textual.dom import DOMNode

    from ptune_tui.tui.outcome import AppOutcome
    from ptune_tui.tui.session import Session

POLL_SECONDS = 0.5  # each may draw twice, and a key waits for a drawing to be through
PROBLEM_SECONDS = 20.0  # that a problem with the settings stays on the screen

InitialScreen = Literal["runs", "setup", "train", "compare", "export", "chat"]


def run_app(
    initial_screen: InitialScreen | None = None,
    bundle: Path | None = None,
    attach: Path | None = None,
) -> AppOutcome:
    """Open the app and wait until it closes.

    Args:
        initial_screen (InitialScreen | None): The place to begin in; None for the one that shows
            what is given: the run, else the bundle, else all runs, or a new setup.
        bundle (Path | None): What the chat opens.
        attach (Path | None): A run folder to show.

    Returns:
        AppOutcome: What to say on the normal screen, and the exit code.

    Raises:
        UsageError: There is no folder `attach`.
    """
    app = PTuneApp(initial_screen, bundle, attach)
    try:
        app.run()
    finally:
        if app.has_lost_terminal:
            os._exit(TERMINAL_LOST)  # whatever is still to be written would fail or never return
    from ptune_tui.tui.outcome import outcome_of

    return outcome_of(app.session, app.return_code or 0)


class PTuneApp(App[None]):
    """The terminal app.

    Args:
        initial_screen (InitialScreen | None): The place to begin in; None for the one that shows
            what is given: the run, else the bundle, else all runs, or a new setup.
        bundle (Path | None): What the chat opens.
        attach (Path | None): A run folder to show.
        clock (Callable[[], float]): Seconds since the epoch.

    Raises:
        UsageError: There is no folder `attach`.
    """

    TITLE = "ptune"
    CSS_PATH = "app.tcss"
    MODES = MODES
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("app")]
    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] = [  # noqa: RUF012
        (0, "-tiny"),
        (60, "-small"),
        (72, "-narrow"),
        (100, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (20, "-short"), (30, "-tall")]  # noqa: RUF012

    def __init__(
        self,
        initial_screen: InitialScreen | None = None,
        bundle: Path | None = None,
        attach: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Native colours, so that NO_COLOR leaves none: the library would draw in shades of grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.animation_level = "none"
        self._take_settings()
        self._bundle = bundle
        self.clock = clock
        fitting: InitialScreen | None = "train" if attach else "chat" if bundle else None
        self._initial_screen = initial_screen or fitting
        self._leaving = Leaving(self)
        self._terminal: TerminalWatch | None = None
        self._needs = Needs()
        if attach is not None:
            self.session.attach(attach)

    @cached_property
    def session(self) -> Session:
        """The app's work; its imports take their time after the first frame."""
        from ptune_tui.tui.session import Session

        return Session(self._bundle)

    def _take_settings(self) -> None:
        """Colours, charts and keys as the user wants them; what cannot be is said at the start."""
        for theme in HIGH_CONTRAST:
            self.register_theme(theme)
        preferences = read_preferences(self.available_themes)
        self.keymap, self.charts = preferences.keymap, preferences.charts
        self._problems = preferences.problems
        self.set_keymap(dict(self.keymap.changed))
        self.theme = COLOURLESS_THEME if self.no_color else preferences.theme

    def compose(self) -> ComposeResult:
        """The first frame."""
        yield Static("ptune is opening ...", markup=False)

    def on_mount(self) -> None:
        """Show the first place as soon as the first frame is drawn."""
        if not self.is_headless:
            self._terminal = TerminalWatch(self._leaving.leave)
            self._terminal.begin()
        self.call_after_refresh(self._open_first_place)

    async def _open_first_place(self) -> None:
        """Show the first place and begin to poll."""
        from ptune_tui.run_listing import has_runs
        from ptune_tui.tui.left_running import take_up

        await asyncio.to_thread(take_up, self.session)
        await asyncio.to_thread(self.session.poll)  # a long run takes a moment to read
        place = self._initial_screen
        if place is None:
            place = "runs" if await asyncio.to_thread(has_runs) else "setup"
        if self.current_mode == self.DEFAULT_MODE:  # else a key has led elsewhere already
            self.switch_mode(place)
        self.set_interval(POLL_SECONDS, self._poll)
        for problem in self._problems:
            self.notify(problem, severity="warning", timeout=PROBLEM_SECONDS, markup=False)
        self.theme_changed_signal.subscribe(self, lambda theme: self._remember("theme", theme.name))

    def _handle_exception(self, error: Exception) -> None:
        """End with a fault, unless somebody misses widgets only because the app closes."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        if self.is_running or not isinstance(cause, NoMatches):
            super()._handle_exception(error)

    def get_css_variables(self) -> dict[str, str]:
        """The theme's colours, and that of the lines around boxes, which differs from the paper."""
        variables = super().get_css_variables()
        line = "surface-lighten-3" if self.current_theme.dark else "surface-darken-3"
        return {**variables, "line": variables[line]}

    def get_system_commands(self, _screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the table, for the palette."""
        yield from palette_commands(self)

    def get_key_display(self, binding: Binding) -> str:
        """Function keys as keyboards print them."""
        key = binding.key
        is_function_key = key[0] == "f" and key[1:].isdigit()
        return key.upper() if is_function_key else super().get_key_display(binding)

    @property
    def has_lost_terminal(self) -> bool:
        """Whether the terminal is gone."""
        return self._terminal is not None and self._terminal.is_lost

    def status_text(self) -> str:
        """How the work stands, for the bar on top."""
        from ptune_tui.tui.run_status import work_status

        return work_status(self.session)

    def tell_error(self, error: BaseException) -> None:
        """Show an error that something the user did has raised."""
        reason = explain(error)
        self.notify(f"{reason.message} {reason.hint}", severity="error", markup=False)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do what a key is bound to; say what is missing where that cannot be done now."""
        is_done = await super().run_action(action, default_namespace, namespaces)
        if not is_done and isinstance(action, str) and isinstance(default_namespace, Screen):
            self.tell_needs(rows_that_need(default_namespace, action))
        return is_done

    def tell_needs(self, rows: Iterable[Action]) -> None:
        """Say what actions need that cannot be done now, unless it was said a moment ago.

        Args:
            rows (Iterable[Action]): Rows of the table.
        """
        from ptune_tui.tui.screens.place import PlaceScreen

        place = self.screen if isinstance(self.screen, PlaceScreen) else None
        for row in rows:
            is_here = place is not None and row.place == place.PLACE
            words = self._needs.words(row, place.why_not(row.action) if place and is_here else "")
            if words:
                self.notify(words, severity="warning", timeout=SECONDS_TOLD, markup=False)

    def action_show_place(self, place: str) -> None:
        """Show a place."""
        if self.current_mode != place and not self.screen.is_modal:
            self.switch_mode(place)

    def action_show_help(self) -> None:
        """Show what has the focus, and the keys of the place."""
        from ptune_tui.tui.focus_help import focus_help
        from ptune_tui.tui.screens.place import PlaceScreen
        from ptune_tui.tui.screens.questions import HelpScreen

        if isinstance(self.screen, PlaceScreen):
            place = next(row.place for row in ACTIONS if row.place == self.screen.PLACE)
            self.push_screen(HelpScreen(place, self.keymap, focus_help(self.focused)))

    def action_change_theme(self) -> None:
        """Choose other colours; they are remembered."""
        if self.no_color:
            self.notify("NO_COLOR is set, so that there are no colours to choose.")
        else:
            super().action_change_theme()

    def action_change_charts(self) -> None:
        """Draw curves with blocks instead of braille, or the other way round; remembered."""
        self.charts = "blocks" if self.charts == "braille" else "braille"
        self._remember("charts", self.charts)
        self.notify(f"Charts are drawn with {self.charts}.")
        self.refresh_place()

    def _remember(self, name: Remembered, value: str) -> None:
        try:
            remember(name, value)
        except (PTuneError, OSError) as error:
            self.tell_error(error)

    def copy_text(self, text: str, what: str) -> None:
        """Put a text on the clipboard of the terminal, which may be far away (OSC 52).

        Args:
            text (str): The text.
            what (str): What it is, for the message.
        """
        self.copy_to_clipboard(text)
        self.notify(f"Copied {what}.", markup=False)

    async def action_quit(self) -> None:
        """Leave; ask first where work goes on."""
        self._leaving.ask()

    def _fatal_error(self) -> None:
        """End after a fault of ours, in sentences; Textual's own traceback shows users' texts."""
        from rich.text import Text

        from ptune_tui.tui.faults import fault_words

        error = sys.exc_info()[1] or self._exception
        self._exit_renderables.append(Text(fault_words(error) if error else "The app failed."))
        self._close_messages_no_wait()

    def _poll(self) -> None:
        if self._terminal is not None:
            self._terminal.look()
        if not self.session.poll():
            return
        self._leaving.look()
        self.refresh_place()

    def refresh_place(self) -> None:
        """Draw the place that is shown, from the session."""
        from ptune_tui.tui.screens.place import PlaceScreen

        for screen in self.screen_stack:
            if isinstance(screen, PlaceScreen):
                screen.refresh_place()
