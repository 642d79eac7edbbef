"""Compare: did it help? What one could have without the prompt, beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from ptune_tui.errors import PTuneError
from ptune_tui.results import Evaluation
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.compare_choice import command, compare_task
from ptune_tui.tui.compare_state import AnswersState, AskedText
from ptune_tui.tui.compare_subjects import Subject, subjects, tables_of
from ptune_tui.tui.run_rows import table_word
from ptune_tui.tui.screens.compare_views import CompareViews
from ptune_tui.tui.table_views import made_nothing, progress_lines
from ptune_tui.tui.widgets.compare_panel import OF_A_LINE, ComparePanel
from ptune_tui.tui.widgets.field_row import UP_AND_DOWN
from ptune_tui.tui.widgets.run_panels import Problem
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.widgets.text_view import TextView
from ptune_tui.tui.widgets.view_bar import View, ViewBar


class CompareScreen(CompareViews):
    """The comparison."""

    PLACE: ClassVar[str] = "compare"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("compare"), *UP_AND_DOWN]
    AUTO_FOCUS = "#compare-start"

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Subject] | None = None  # None: not read yet
        self._tables_of: Subject | None = None  # whose stored tables are offered
        self._problems: list[str] = []  # of stored tables
        self._num_made = 0
        self._is_first_look = True
        self._followed: Path | None = None  # the run or bundle that was shown elsewhere
        self._asked: AskedText | None = None  # whose answers are awaited

    def compose_body(self) -> ComposeResult:
        """The names of the parts, the form, what was found, the buttons."""
        yield Static("Reading the runs...", id="no-subject", classes="empty", markup=False)
        with Vertical(id="compare"):
            yield ViewBar(id="view-bar")
            with Horizontal(id="compare-body"):
                with Vertical(id="compare-left"):
                    yield self.form
                    yield Steady("", id="compare-command")
                yield self.panel
            with Horizontal(id="compare-line"):
                yield Button("Compare", variant="primary", id="compare-start", compact=True)
                yield Button("Stop", id="compare-stop", compact=True)
                yield Steady("", id="compare-status")

    def on_mount(self) -> None:
        """Show nothing before the runs are read."""
        self.query_one("#compare").display = False

    def on_screen_resume(self) -> None:
        """Read runs and tables again: others may have come meanwhile."""
        self._read_subjects()
        if self._tables_of is not None:
            self._read_tables(self._tables_of)
        super().on_screen_resume()

    def on_resize(self) -> None:
        """Form and findings stand side by side only where it is wide."""
        self.call_after_refresh(self.refresh_place)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """None shows a key as disabled."""
        comparison, evaluation = self.ptune.session.comparison, self.shown_table()
        allowed = {
            "start": self._can_start(),
            "stop": comparison.is_making_table or comparison.is_answering,
            "copy": bool(self.found) and self.copied()[0] != "",
            "next_table": len(self.panel.tables) > 1,
            "next_line": evaluation is not None and self.shown_view in (*OF_A_LINE, "rows"),
            "next_flips": evaluation is not None and self.shown_view == "rows",
            "next_view": bool(self.found),
            "ask": bool(self.found),
        }
        return None if allowed.get(action) is False else super().check_action(action, parameters)

    @on(Button.Pressed, "#compare-start")
    async def action_start(self) -> None:
        """Make the table that the form says."""
        form = self.form
        await form.look()  # the disk may have changed since the last key
        subject, lineup, rows = form.subject, form.lineup, form.rows
        if subject is None or lineup is None or rows is None or not self._can_start():
            return
        try:
            self.ptune.session.comparison.start_table(compare_task(lineup, rows, subject))
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
            return
        self.action_show_view("table")

    @on(Button.Pressed, "#compare-stop")
    def action_stop(self) -> None:
        """End what goes on: the table, or the answers."""
        comparison = self.ptune.session.comparison
        if comparison.is_making_table:
            comparison.cancel_table()
        else:
            comparison.stop_answers()
        self.refresh_place()

    @on(Input.Submitted, "#compare-ask")
    async def _ask(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        session = self.ptune.session
        if not text:
            return
        if session.comparison.is_answering:
            self.notify("Still answering; Stop ends that. The text stays here.", markup=False)
            return
        await self.form.look()  # a tick may have been changed just before
        lineup = self.form.lineup
        if lineup is None or not self._is_free():
            words = "a field of the form is wrong" if lineup is None else "other work goes on"
            self.notify(f"Not now: {words}.", severity="warning")
            return
        try:
            session.comparison.ask(lineup, text)
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
            return
        self._asked = session.comparison.texts[-1]
        if event.input.value == event.value:  # else more was written meanwhile
            event.input.clear()
        self.refresh_place()

    def on_compare_form_changed(self) -> None:
        """Show the command, and the tables of another run."""
        form = self.form
        if form.subject is not None and form.subject != self._tables_of:
            self._tables_of = form.subject
            self._read_tables(form.subject)
        words = "(a field is wrong)"
        if form.subject is not None and form.lineup is not None and form.rows is not None:
            words = command(form.lineup, form.rows, form.subject)
        self.query_one("#compare-command", Steady).show_text(f"$ {words}")
        self.refresh_place()

    def _is_written_in(self) -> bool:
        """Whether a box of the form has the focus: it must not go away under the keys."""
        return isinstance(self.focused, Input)

    def on_compare_panel_changed(self) -> None:
        """Another table was chosen."""
        self.refresh_place()

    def show_state(self) -> None:
        """Draw the comparison."""
        if self.found is None:
            return
        comparison = self.ptune.session.comparison
        if comparison.num_made != self._num_made:
            self._num_made = comparison.num_made
            if self._tables_of is not None:
                self._read_tables(self._tables_of)
        view, is_wide, panel = self.shown_view, self.is_wide, self.panel
        self.query_one(ViewBar).show(view, self.views)
        self.query_one("#compare-left").display = is_wide or view == "choose"
        panel.display = is_wide or view != "choose"
        self._show_findings(panel, view)
        answers = comparison.answers
        is_active = answers is not None and answers.is_active
        state = answers.state if answers else None
        self.query_one(TextView).show(comparison.texts, state, is_active)
        if self._asked is not None and not is_active:
            self._give_back(self._asked, state)
        self._show_buttons()

    def _give_back(self, asked: AskedText, state: AnswersState | None) -> None:
        """Put a text back that was not answered because its worker failed: it can be sent again."""
        self._asked = None
        was_stopped = state is not None and state.is_cancelled
        if not (asked.is_answered or was_stopped):
            box = self.query_one("#compare-ask", Input)
            box.value = box.value or asked.text

    def _show_findings(self, panel: ComparePanel, view: View) -> None:
        """The part that is shown; while a table is made, how far it is in the table's place."""
        comparison = self.ptune.session.comparison
        state = comparison.table.state if comparison.table else None
        failure = state.task.failure if state and not state.is_cancelled else None
        if view == "text":
            answers = comparison.answers.state if comparison.answers else None
            failure = answers.task.failure if answers and not answers.is_cancelled else None
        panel.query_one(Problem).show(failure, "The comparison")
        subject, is_over = self._tables_of, not comparison.is_making_table
        is_earlier = state is not None and is_over and comparison.made is None and view != "text"
        is_earlier &= subject is not None and comparison.is_of(subject.run, subject.bundle)
        panel.show_earlier(made_nothing(state) if state is not None and is_earlier else "")
        is_told = comparison.is_making_table or (
            state is not None and comparison.made is None and panel.evaluation is None
        )
        drawn = self.drawn_view
        panel.show_view(drawn, is_told=is_told and drawn == "table")
        if drawn == "table" and state is not None and is_told:
            panel.show_table_text(list(progress_lines(state, self.ptune.clock())))
        elif drawn == "table" and panel.evaluation is None:
            panel.show_table_text([Content("\n".join([self.no_table(), *self._problems]))])

    def _show_buttons(self) -> None:
        comparison = self.ptune.session.comparison
        start, stop = self.query_one("#compare-start", Button), self.query_one("#compare-stop")
        start.disabled = not self._can_start()
        start.label = "Comparing..." if comparison.is_making_table else "Compare"
        self.form.disabled = comparison.is_making_table
        stop.display = comparison.is_making_table or comparison.is_answering
        self._show_status()

    def _show_status(self) -> None:
        """What is wrong, or what else can be done, in one line beside the buttons."""
        session, form = self.ptune.session, self.form
        warning = session.comparison.damage
        if session.is_busy and not session.comparison.is_making_table:
            warning = "waits until the other work has ended"
        elif form.lineup is None or form.rows is None:
            warning = "a field of the form is wrong"
        elif self._problems:
            warning = self._problems[0]
        line = self.query_one("#compare-status", Steady)
        line.set_class(bool(warning), "-warning")
        line.show_text(warning or self.hint())

    def _is_free(self) -> bool:
        return not self.ptune.session.is_busy

    def _can_start(self) -> bool:
        return None not in (self.form.lineup, self.form.rows) and self._is_free()

    @work(exclusive=True, group="subjects")
    async def _read_subjects(self) -> None:
        """Offer runs and bundles; one that is newly shown elsewhere is taken."""
        session = self.ptune.session
        shown = session.run.job.folder if session.run is not None else None
        is_first = self.found is None
        bundle = session.bundle
        if is_first and session.comparison.is_making_table:  # an earlier app has begun it
            shown, bundle = session.comparison.compared
            self.view = "table"
        found = await asyncio.to_thread(subjects, session.listing, shown, bundle)
        chosen = next((each.word for each in found if each.is_of(shown, bundle)), None)
        followed = shown or bundle
        follows = is_first or followed != self._followed
        if found:
            self._followed = followed if chosen is not None else self._followed
            await self.form.offer(found, chosen if follows else None)
        # Nothing is drawn before the form is read: its button would lose the focus.
        self.found = found
        self.query_one("#no-subject", Static).update(self.nothing_to_compare())
        self.query_one("#no-subject").display = not self.found
        self.query_one("#compare").display = bool(self.found)
        if found and self.is_current and self.focused is None:
            self.query_one("#compare-start").focus()
        self.refresh_place()

    @work(exclusive=True, group="tables")
    async def _read_tables(self, subject: Subject) -> None:
        """Offer the tables of a run, and the one that was just made."""
        comparison, now = self.ptune.session.comparison, self.ptune.clock()
        tables: list[tuple[str, Evaluation]] = []
        self._problems = []
        if subject.run is not None:
            tables, self._problems = await asyncio.to_thread(tables_of, subject.run, now)
        elif comparison.made is not None and comparison.is_of(None, subject.bundle):
            tables = [(table_word(comparison.made, now, True), comparison.made)]
        self.panel.offer(tables)
        if self._is_first_look and tables and self.view == "choose" and not self._is_written_in():
            self.view = "table"  # what was found before is what one comes for
        self._is_first_look = False
        self.refresh_place()
