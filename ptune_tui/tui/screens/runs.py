"""Runs: every run in a table, the one under the cursor looked at, loss curves over each other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from ptune_tui.errors import PTuneError
from ptune_tui.run_files import delete_run
from ptune_tui.runs import AT_WORK, RunSummary, run_word
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.opened_run import read_run
from ptune_tui.tui.run_look import Look, Looks
from ptune_tui.tui.run_rows import filtered
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.screens.questions import DeleteScreen
from ptune_tui.tui.widgets.curve import MARKERS
from ptune_tui.tui.widgets.run_body import RunBody
from ptune_tui.tui.widgets.run_details import belongings
from ptune_tui.tui.widgets.run_filter import RunFilter
from ptune_tui.tui.widgets.run_table import RunTable

EMPTY = """\
No runs yet.

{new}  sets one up; Enter there starts it with the defaults

On the command line:  ptune demo
Runs will lie in {folder}"""
READ_SECONDS = 2.0  # between two looks at the folder, while this place is shown
SETTLE_SECONDS = 0.1  # of the cursor, before a run's files are opened


class RunsScreen(PlaceScreen):
    """The list of runs."""

    PLACE: ClassVar[str] = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("runs")]
    AUTO_FOCUS = "#runs-table"

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[RunSummary] | None = None  # None: not read yet
        self.marked: list[Path] = []
        self._looks = Looks()
        self._seen: dict[Path, Look] = {}
        self._changed: set[Path] = set()  # since they were looked at
        self._is_reading = False
        self._told: set[str] = set()  # problems of the listing
        self._minute = -1  # in which the table was drawn

    def compose_body(self) -> ComposeResult:
        """What shows while there is no run; filter, table, and what is known of a run."""
        yield Static("Reading the runs ...", id="no-runs", classes="empty", markup=False)
        with Vertical(id="runs"):
            yield RunFilter()
            yield RunTable()
            yield RunBody()

    def on_mount(self) -> None:
        """Begin to read."""
        self.query_one("#runs").display = False
        self.set_interval(READ_SECONDS, self._read_if_shown)
        self.app.theme_changed_signal.subscribe(self, lambda _: self._show_details())

    def on_screen_resume(self) -> None:
        """Read at once what has changed while another place was shown."""
        super().on_screen_resume()
        self._changed.update(self._seen)
        self._read()
        self._look()

    def on_resize(self) -> None:
        """Details and curves stand side by side only where it is wide."""
        self.call_after_refresh(self._show_details)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """None shows a key as disabled."""
        run = self.highlighted
        allowed = {
            "open": run is not None and not self.ptune.session.has_own_export,
            "mark": run is not None,
            "unmark": bool(self.marked),
            "filter": bool(self.runs),
            "curves": run is not None and not self.is_wide,
            "delete": run is not None and not self._is_worked_on(run),
            "copy": run is not None,
            "end_filter": any(line.display for line in self.query(RunFilter)),
        }
        return None if allowed.get(action) is False else super().check_action(action, parameters)

    @property
    def highlighted(self) -> RunSummary | None:
        """The run under the cursor."""
        return self.query_one(RunTable).highlighted if self.runs else None

    def action_open(self) -> None:
        """Show the run in its place: as it goes, or how it went."""
        run = self.highlighted
        if run is not None:
            self._open(run.path)

    @work(exclusive=True, group="open")
    async def _open(self, run: Path) -> None:
        session = self.ptune.session
        before = session.run
        if not session.shows(run) or session.is_behind(run):
            try:
                opened = await asyncio.to_thread(read_run, run)
            except (PTuneError, OSError) as error:
                self.ptune.tell_error(error)
                return
            if session.run is not before or session.has_own_export or not self.is_current:
                return  # the user has gone on while it was read
            session.show_run(opened)
        self.ptune.action_show_place("train")

    @on(RunTable.RowSelected)
    def _clicked(self) -> None:
        """A click on the row that is under the cursor."""
        if self.check_action("open", ()):
            self.action_open()

    def action_mark(self) -> None:
        """Put the run's curve beside those of the other marked runs, or take it away."""
        run = self.highlighted
        if run is None:
            return
        if run.path in self.marked:
            self.marked.remove(run.path)
        elif len(self.marked) == len(MARKERS):
            self.notify(f"{len(MARKERS)} curves fill a chart; u takes all marks away.")
        else:
            self.marked.append(run.path)
        self._show_runs()
        self._look()

    def action_unmark(self) -> None:
        """Take all marks away."""
        self.marked.clear()
        self._show_runs()
        self._look()

    def action_curves(self) -> None:
        """Change between what is known of a run and the curves, where there is no room for both."""
        body = self.query_one(RunBody)
        body.shows_curves = not body.shows_curves
        self._show_details()

    def action_filter(self) -> None:
        """Write into the filter."""
        self.query_one(RunFilter).open()
        self.refresh_bindings()

    def action_end_filter(self) -> None:
        """Show all runs again."""
        self.query_one(RunTable).focus()
        self.query_one(RunFilter).close()
        self.refresh_bindings()

    @on(Input.Submitted)
    def _leave_filter(self) -> None:
        self.query_one(RunTable).focus()

    @on(Input.Changed)
    def _filter_changed(self) -> None:
        self._show_runs()

    def action_copy(self) -> None:
        """Copy the run's path, through the terminal."""
        run = self.highlighted
        if run is not None:
            self.ptune.copy_text(str(run.path.absolute()), f"the path {run.path}")

    def action_delete(self) -> None:
        """Ask, then delete the run."""
        run = self.highlighted
        if run is None or self._is_worked_on(run):
            return
        path = run.path

        def answered(is_yes: bool | None) -> None:
            if is_yes:
                self._delete(path)

        def what() -> str:
            return belongings(self._looks.look([path]).get(path))

        known = belongings(self._seen.get(path))
        self.ptune.push_screen(DeleteScreen(run_word(path), known, what), answered)

    @work(group="delete")
    async def _delete(self, run: Path) -> None:
        self.ptune.session.end_chat(run)
        try:
            await asyncio.to_thread(delete_run, run)
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
        else:
            self.ptune.session.forget_run(run)
            self.notify(f"Deleted: {run.name}", markup=False)
        self._read()

    def _is_worked_on(self, run: RunSummary) -> bool:
        """Whether its worker still runs, or its bundle is being written."""
        session = self.ptune.session
        is_shown_at_work = session.shows(run.path) and session.is_training
        return run.status in AT_WORK or is_shown_at_work or session.is_exported(run.path)

    def _read_if_shown(self) -> None:
        if self.is_current:
            self._read()

    @work(group="listing")
    async def _read(self) -> None:
        """Read the folder of runs, and draw what has changed."""
        if self._is_reading:
            return  # a thread cannot be ended, and two of them would share the listing
        self._is_reading = True
        problems: list[str] = []
        try:
            runs = await asyncio.to_thread(self.ptune.session.listing.read, problems.append)
        finally:
            self._is_reading = False
        self._tell(problems)
        before = {run.path: run for run in self.runs or []}
        changed = {run.path for run in runs if before.get(run.path) != run}
        self.runs = runs
        gone = before.keys() - {run.path for run in runs}
        self.marked = [run for run in self.marked if run not in gone]
        minute = int(self.ptune.clock() // 60)
        if changed or gone or minute != self._minute:  # ages count in minutes
            self._minute = minute
            self._show_runs()
        self._changed |= changed
        if changed & set(self._wanted()) or gone:
            self._look()

    def _tell(self, problems: list[str]) -> None:
        """Say each problem of the listing once, not at every look."""
        for problem in problems:
            if problem not in self._told:
                self._told.add(problem)
                self.notify(problem, severity="warning", markup=False)

    def _show_runs(self) -> None:
        """Draw the table."""
        runs, now, folder = self.runs or [], self.ptune.clock(), self.ptune.session.listing.folder
        shown = filtered(runs, self.query_one(RunFilter).words, now)
        self.query_one("#no-runs", Static).update(
            EMPTY.format(new=self.ptune.keymap.name("runs.new"), folder=folder)
        )
        self.query_one("#no-runs").display = not runs
        self.query_one("#runs").display = bool(runs)
        self.query_one(RunFilter).show_count(len(shown), len(runs))
        self.query_one(RunTable).show(shown, self.marked, now)
        if self.focused is None and runs:
            self.query_one(RunTable).focus()
        self._show_details()
        self.refresh_place()

    @on(RunTable.RowHighlighted)
    def _highlighted(self) -> None:
        self._show_details()
        if self.highlighted is not None:
            self._changed.add(self.highlighted.path)  # a table may have come since
        self._look()
        self.refresh_place()

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        """Read the run under the cursor and the marked ones, once the cursor has settled."""
        await asyncio.sleep(SETTLE_SECONDS)
        wanted = self._wanted()
        old = [path for path in wanted if path in self._changed or path not in self._seen]
        self._changed.difference_update(old)
        try:
            looks = await asyncio.to_thread(self._looks.look, old)
        except asyncio.CancelledError:  # by a look at others
            self._changed.update(old)
            raise
        known = {path: self._seen[path] for path in wanted if path in self._seen}
        self._seen = {**known, **looks}
        self._show_details()

    def _wanted(self) -> list[Path]:
        """The marked runs and the one under the cursor."""
        paths = [*self.marked, *([self.highlighted.path] if self.highlighted else [])]
        return list(dict.fromkeys(paths))

    def _show_details(self) -> None:
        """Draw what is known of the run, and the curves."""
        run = self.highlighted
        look = self._seen.get(run.path) if run else None
        marked = [self._seen[path] for path in self.marked if path in self._seen]
        name = self.ptune.keymap.name("runs.curves")
        now = self.ptune.clock()
        self.query_one(RunBody).show(run, look, marked, now, name, is_wide=self.is_wide)
