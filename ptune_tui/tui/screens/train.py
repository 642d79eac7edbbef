"""Train: the run as it goes, read from its events."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from ptune_tui.errors import PTuneError
from ptune_tui.run_listing import has_runs
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.run_commands import Run, continue_run, evaluate_now, pause_run, stop_run
from ptune_tui.tui.run_state import RunState
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.action_link import action_link
from ptune_tui.tui.widgets.plan_panel import PlanLine, Reasons
from ptune_tui.tui.widgets.run_panels import (
    Ending,
    Notices,
    Problem,
    Samples,
    Scores,
    answers_text,
    answers_title,
)
from ptune_tui.tui.widgets.run_panes import RunPanes
from ptune_tui.tui.widgets.stage_list import StageList, waiting_sentence
from ptune_tui.tui.widgets.tiles import Tiles

if TYPE_CHECKING:
    from ptune_tui.tui.widgets.loss_chart import LossChart

EMPTY = """\
{why}

{setup}  go to Setup; Enter starts a run with the defaults
{chat}  talk to a bundle that is there already

A run goes on in a process of its own: closing the app or the connection does not end it."""
NO_RUN = "No run yet."
NOT_SHOWN = "No run is shown.\n\n{runs}  lists all runs; Enter there shows one"
MOST_NOTICES = 2  # above the figures; all of them stand with the plan's reasons


class TrainScreen(PlaceScreen):
    """A run."""

    PLACE: ClassVar[str] = "train"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("train")]
    AUTO_FOCUS = ""
    shows_reasons = False

    def compose_body(self) -> ComposeResult:
        """What shows while there is no run, and what shows of one."""
        from ptune_tui.tui.widgets.loss_chart import LossChart  # numpy: not before it is needed

        yield Static("", id="no-run", classes="empty", markup=False)
        with Vertical(id="run"):
            yield Problem(id="problem")
            yield Notices(id="notices")
            yield Tiles(id="tiles")
            yield Scores(id="scores")
            yield PlanLine(id="plan")
            yield Ending(id="ending")
            with RunPanes(id="run-body"):
                yield LossChart()
                with VerticalScroll(id="stages-box"):
                    yield StageList(id="stages")
                with VerticalScroll(id="samples-box"):
                    yield Samples(id="samples")
                    yield Reasons(id="reasons")

    def on_mount(self) -> None:
        """Name the boxes."""
        self.query_one("#stages-box").border_title = "stages"

    def on_screen_resume(self) -> None:
        """Say how to get a run, where none is shown: it may have been deleted meanwhile."""
        super().on_screen_resume()
        if self.ptune.session.run is None and self.query("#no-run"):
            name = self.ptune.keymap.name
            why = NOT_SHOWN.format(runs=name("app.runs")) if has_runs() else NO_RUN
            empty = EMPTY.format(why=why, setup=name("app.setup"), chat=name("app.chat"))
            self.query_one("#no-run", Static).update(empty)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """None shows a key as disabled."""
        session = self.ptune.session
        allowed = {
            "pause": session.is_training and not session.is_stopping,
            "stop": session.is_training and not session.is_stopping,
            "evaluate": session.is_training,
            "export": session.can_export,
            "next": session.can_export,
            "chat": session.bundle is not None,
            "resume": session.is_paused or session.can_resume,
            "copy": session.run is not None,
            "plan": session.run is not None and session.run.state.plan is not None,
            "view": session.run is not None and bool(session.run.state.losses),
            "scale": session.run is not None and bool(session.run.state.losses),
        }
        return None if allowed.get(action) is False else super().check_action(action, parameters)

    def action_pause(self) -> None:
        """Wait after this step, or go on again."""
        session = self.ptune.session
        is_waiting = session.run is not None and (session.is_paused or session.run.state.is_pausing)
        self._tell(continue_run if is_waiting else pause_run)

    def action_stop(self) -> None:
        """Stop after this step and keep the best prompt."""
        self._tell(partial(stop_run, save=True))

    def _tell(self, command: Callable[[Run | None], None]) -> None:
        """Tell the run something; a full disk, or a folder that is gone, is said."""
        try:
            command(self.ptune.session.run)
        except OSError as error:
            self.ptune.tell_error(error)
        self.refresh_place()

    def action_evaluate(self) -> None:
        """Score the validation rows after this step."""
        session = self.ptune.session
        try:
            evaluate_now(session.run)
        except OSError as error:
            self.ptune.tell_error(error)
            return
        when = "now; the run stays paused" if session.is_paused else "after this step"
        self.notify(f"The validation rows are scored {when}.")

    def action_view(self) -> None:
        """Show the next view of the chart."""
        self._chart().show_next_view()

    def action_scale(self) -> None:
        """Change the loss's axis between a plain and a logarithmic one."""
        self._chart().toggle_scale()

    def action_copy(self) -> None:
        """Copy what the box in focus says, else the error, else the path of the run."""
        run = self.ptune.session.run
        if run is None:
            return
        problem, focused = self.query_one(Problem), getattr(self.focused, "id", "")
        if problem.has_focus or (problem.display and focused != "samples-box"):
            self.ptune.copy_text(problem.plain, "the error")
        elif focused != "samples-box":
            self.ptune.copy_text(str(run.job.folder.absolute()), "the path of the run")
        elif self.shows_reasons and run.state.plan is not None:
            self.ptune.copy_text(self.query_one(Reasons).plain, "the reasons")
        else:
            self.ptune.copy_text(answers_text(run.state.samples), "the answers")

    def action_resume(self) -> None:
        """Go on with a run that waits, or from the last checkpoint of one that ended."""
        if self.ptune.session.is_paused:
            self._tell(continue_run)
            return
        try:
            self.ptune.session.resume_run()
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
        self.refresh_place()

    def action_plan(self) -> None:
        """Change between the last answers and the reasons of the plan."""
        self.shows_reasons = not self.shows_reasons
        self.refresh_place()

    def action_export(self) -> None:
        """Go to the export of the run."""
        session = self.ptune.session
        if session.run is not None and session.can_export:
            session.run_to_export = session.run.job.folder
            self.ptune.action_show_place("export")

    def action_next(self) -> None:
        """Export the run, or talk to it where that is done."""
        session = self.ptune.session
        bundle = session.run_bundle
        if bundle is None:
            self.action_export()
        else:
            session.talk.bundle = bundle
            self.action_chat()

    def action_chat(self) -> None:
        """Talk to the bundle."""
        self.ptune.action_show_place("chat")

    @on(RunPanes.Shared)
    def _room_changed(self) -> None:
        """What has another room now says other things."""
        self.refresh_place()

    def show_state(self) -> None:
        """Draw the run."""
        session = self.ptune.session
        run = session.run.state if session.run else None
        self.query_one("#no-run").display = run is None
        self.query_one("#run").display = run is not None
        if run is None:
            return
        failure = run.task.failure
        self.query_one(Problem).show(failure, "The run")
        self.query_one("#run").set_class(failure is not None, "-failed")
        self.query_one("#run").set_class(run.task.is_over, "-ended")
        others = f"{self.ptune.keymap.name('train.plan')} shows them"
        self.query_one(Notices).show(run.task.pinned, MOST_NOTICES, others)
        self.query_one(Tiles).show(run)
        self.query_one(Scores).show(run)
        self._show_answers_or_reasons(run)
        panes = self.query_one(RunPanes)
        panes.share(len(run.task.stages), is_asked=self.shows_reasons and run.plan is not None)
        stages, is_line = run.task.stages.values(), panes.is_line
        self.query_one(StageList).show(stages, self.ptune.clock(), is_line=is_line)
        bundle = None if session.is_training else session.run_bundle
        self.query_one(Ending).show(run, bundle, self._next_keys(bundle))
        self._chart().wait_for(waiting_sentence(run.task, self.ptune.clock()))
        goes_on = session.is_training and not session.is_paused and not run.is_scoring
        self._chart().show(run, self.ptune.keymap.name("train.view"), at_once=not goes_on)

    def _show_answers_or_reasons(self, run: RunState) -> None:
        """The box that the last answers and the plan's reasons share."""
        shows_reasons = self.shows_reasons and run.plan is not None
        box, samples, reasons = (
            self.query_one("#samples-box"),
            self.query_one(Samples),
            self.query_one(Reasons),
        )
        samples.display, reasons.display = not shows_reasons, shows_reasons
        samples.show(run.samples, is_free=run.is_free_text, is_over=run.task.is_over)
        reasons.show(run.plan, run.task.notices)
        self.query_one(PlanLine).show(run.plan)
        titles = (answers_title(run), "why this plan")
        box.border_title = titles[shows_reasons]
        key = self.ptune.keymap.name("train.plan")
        other = "answers" if shows_reasons else titles[1]
        box.border_subtitle = action_link("screen.plan", f"{key}: {other}") if run.plan else ""

    def _next_keys(self, bundle: Path | None) -> str:
        """What can be done, once the run has ended."""
        session = self.ptune.session
        name = self.ptune.keymap.name
        if session.is_paused and not session.is_stopping:
            scores = ", scoring the validation rows" if session.is_scoring else ""
            return (
                f"‖ Paused{scores}: {name('train.pause')} goes on, {name('train.evaluate')} scores "
                f"the validation rows, {name('train.stop')} stops and saves"
            )
        if session.is_training or session.is_exporting:
            return ""
        enter, export = name("train.next"), name("train.export")
        keys = [f"{enter} exports it"] if session.can_export and bundle is None else []
        keys += [f"{enter} talks to the bundle, {export} exports again"] if bundle else []
        if session.can_resume and session.run is not None:
            does = "goes on with the run" if session.run.state.last_saved else "begins it again"
            keys.append(f"{name('train.resume')} {does}")
        return ", ".join([*keys, f"{name('app.setup')} sets up another run"])

    def _chart(self) -> LossChart:
        from ptune_tui.tui.widgets.loss_chart import LossChart

        return self.query_one(LossChart)
