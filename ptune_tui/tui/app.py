"""The app: six places over one session, polled four times a second.

It runs no model: work is done by child processes that answer through files, and chats by one that
answers over pipes. So nothing native prints on the screen, and closing the app ends no run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

from ptune_tui.errors import explain
from ptune_tui.events import TaskFinished
from ptune_tui.run_listing import has_runs
from ptune_tui.tui.bindings import ACTIONS, Action, bindings_of
from ptune_tui.tui.session import Session
from ptune_tui.tui.wording import share_text

if TYPE_CHECKING:
    from ptune_tui.tui.outcome import AppOutcome
    from ptune_tui.tui.screens.questions import Leave

POLL_SECONDS = 0.25
DISCARD_SECONDS = 3.0  # for a worker to stop by itself

InitialScreen = Literal["runs", "setup", "train", "compare", "export", "chat"]


def run_app(
    initial_screen: InitialScreen | None = None,
    bundle: Path | None = None,
    attach: Path | None = None,
) -> AppOutcome | None:
    """Open the app and wait until it closes.

    Args:
        initial_screen (InitialScreen | None): The place to begin in; None for the one that shows
            what is given: the run, else the bundle, else all runs, or a new setup.
        bundle (Path | None): What the chat opens.
        attach (Path | None): A run folder to show.

    Returns:
        AppOutcome | None: What to say on the normal screen; None where nothing was done.

    Raises:
        UsageError: There is no folder `attach`.
    """
    app = PTuneApp(initial_screen, bundle, attach)
    app.run()
    from ptune_tui.tui.outcome import outcome_of

    return outcome_of(app.session)


# The first frame is drawn before the places are imported: half of a start's time is theirs.
def _runs_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.runs import RunsScreen

    return RunsScreen()


def _setup_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.setup import SetupScreen

    return SetupScreen()


def _train_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.train import TrainScreen

    return TrainScreen()


def _compare_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.compare import CompareScreen

    return CompareScreen()


def _export_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.export import ExportScreen

    return ExportScreen()


def _chat_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.chat import ChatScreen

    return ChatScreen()


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
    MODES = {  # noqa: RUF012
        "runs": _runs_screen,
        "setup": _setup_screen,
        "train": _train_screen,
        "compare": _compare_screen,
        "export": _export_screen,
        "chat": _chat_screen,
    }
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("app")]
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-small"), (72, "-narrow"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (20, "-short"), (30, "-tall")]  # noqa: RUF012

    def __init__(
        self,
        initial_screen: InitialScreen | None = None,
        bundle: Path | None = None,
        attach: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self.session = Session(bundle)
        self.clock = clock
        fitting: InitialScreen | None = "train" if attach else "chat" if bundle else None
        self._initial_screen = initial_screen or fitting
        self._leaves_after_run = False
        if attach is not None:
            self.session.attach(attach)

    def compose(self) -> ComposeResult:
        """The first frame."""
        yield Static("ptune is opening ...", markup=False)

    def on_mount(self) -> None:
        """Show the first place as soon as the first frame is drawn."""
        self.call_after_refresh(self._open_first_place)

    def _open_first_place(self) -> None:
        """Show the first place and begin to poll."""
        self.session.poll()
        self.switch_mode(self._initial_screen or ("runs" if has_runs() else "setup"))
        self.set_interval(POLL_SECONDS, self._poll)

    def get_system_commands(self, _screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the table, for the palette."""
        for row in ACTIONS:
            yield SystemCommand(row.title, row.tooltip, self._runner(row))

    def get_key_display(self, binding: Binding) -> str:
        """Function keys as keyboards print them."""
        key = binding.key
        return (
            key.upper() if key[0] == "f" and key[1:].isdigit() else super().get_key_display(binding)
        )

    def status_text(self) -> str:
        """How the work stands, for the bar on top."""
        run = self.session.run
        if self.session.is_exporting:
            return "▸ exporting"
        if self.session.comparison.is_making_table:
            return "▸ comparing"
        if self.session.is_finding_rate:
            return "▸ finding a rate"
        if run is None:
            return ""
        state = run.state
        if state.task.failure is not None:
            return "✗ the run failed"
        if run.is_active:
            step = f" {state.step.step}/{state.step.max_steps}" if state.step else ""
            return f"▸ {'stopping' if state.is_stopping else 'training'}{step}"
        best = f", best {share_text(state.best.accuracy)}" if state.best else ""
        stopped_early = (
            isinstance(state.task.ending, TaskFinished) and state.task.ending.stopped_early
        )
        return f"✓ {'stopped' if stopped_early else 'finished'}{best}"

    def tell_error(self, error: BaseException) -> None:
        """Show an error that something the user did has raised."""
        reason = explain(error)
        self.notify(f"{reason.message} {reason.hint}", severity="error", markup=False)

    def action_show_place(self, place: str) -> None:
        """Show a place."""
        if self.current_mode != place and not self.screen.is_modal:
            self.switch_mode(place)

    def action_show_help(self) -> None:
        """Show the keys of the place."""
        from ptune_tui.tui.screens.place import PlaceScreen
        from ptune_tui.tui.screens.questions import HelpScreen

        if isinstance(self.screen, PlaceScreen):
            place = next(row.place for row in ACTIONS if row.place == self.screen.PLACE)
            self.push_screen(HelpScreen(place))

    async def action_quit(self) -> None:
        """Leave; ask first where work goes on."""
        from ptune_tui.tui.screens.questions import LeaveScreen

        work = self.session.work_that_goes_on
        if self._leaves_after_run or work is None:
            self._leave()
        elif not isinstance(self.screen, LeaveScreen):
            self.push_screen(LeaveScreen(work), self._answered)

    def _answered(self, choice: Leave | None) -> None:
        if choice == "background":
            self._leave()
        elif choice == "discard":
            self.run_worker(self._discard())
        elif choice == "save":
            self.session.stop_run(save=True)
            self._leaves_after_run = True
            self.notify("Leaving when the run has stopped; Quit again leaves at once.")
            self.refresh_place()

    async def _discard(self) -> None:
        """End the work: ask the run, wait, then end its process."""
        self.session.stop_run(save=False)
        followed = self.session.followed
        self.notify("Ending the work...")
        deadline = time.monotonic() + (DISCARD_SECONDS if self.session.is_training else 0.0)
        while followed is not None and followed.is_active and time.monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)
        if followed is not None and followed.is_active:
            await asyncio.to_thread(followed.job.kill)
        self._leave()

    def _leave(self) -> None:
        self.session.end_preview()
        self.session.end_rate_test()
        self.session.comparison.stop_answers()
        self.exit()

    def _poll(self) -> None:
        if not self.session.poll():
            return
        if self._leaves_after_run and not self.session.is_training:
            self._leave()
        self.refresh_place()

    def refresh_place(self) -> None:
        """Draw the place that is shown, from the session."""
        from ptune_tui.tui.screens.place import PlaceScreen

        for screen in self.screen_stack:
            if isinstance(screen, PlaceScreen):
                screen.refresh_place()

    def _runner(self, row: Action) -> Callable[[], None]:
        """What the palette runs for a row of the table."""

        async def run() -> None:
            if row.place != "app":
                self.action_show_place("setup" if row.place == "rate" else row.place)
            target = self if row.place == "app" else self.screen
            if not await self.run_action(row.action, target) and row.needs:
                self.notify(f"Not now: {row.title} needs {row.needs}.", severity="warning")

        def start() -> None:
            self.call_later(run)

        return start
