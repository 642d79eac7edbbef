"""Train: the run as it goes, read from its events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid, Vertical, VerticalScroll
from textual.widgets import Static

from ptune_tui.errors import PTuneError
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.run_state import RunState
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.plan_panel import PlanLine, Reasons
from ptune_tui.tui.widgets.run_panels import Ending, Notices, Problem, Samples, Scores
from ptune_tui.tui.widgets.stage_list import StageList
from ptune_tui.tui.widgets.tiles import Tiles

if TYPE_CHECKING:
    from ptune_tui.tui.widgets.loss_chart import LossChart

EMPTY = """\
No run yet.

2  go to Setup; Enter starts a run with the defaults
6  talk to a bundle that is there already

A run goes on in a process of its own: closing the app or the connection does not end it."""


class TrainScreen(PlaceScreen):
    """A run."""

    PLACE: ClassVar[str] = "train"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("train")]
    AUTO_FOCUS = ""
    shows_reasons = False

    def compose_body(self) -> ComposeResult:
        """What shows while there is no run, and what shows of one."""
        from ptune_tui.tui.widgets.loss_chart import LossChart  # numpy: not before it is needed

        yield Static(EMPTY, id="no-run", classes="empty", markup=False)
        with Vertical(id="run"):
            yield Problem(id="problem")
            yield Notices(id="notices")
            yield Tiles(id="tiles")
            yield Scores(id="scores")
            yield PlanLine(id="plan")
            yield Ending(id="ending")
            with Grid(id="run-body"):
                yield LossChart()
                with VerticalScroll(id="stages-box"):
                    yield StageList(id="stages")
                with VerticalScroll(id="samples-box"):
                    yield Samples(id="samples")
                    yield Reasons(id="reasons")

    def on_mount(self) -> None:
        """Name the boxes."""
        self.query_one("#stages-box").border_title = "stages"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """None shows a key as disabled."""
        session = self.ptune.session
        allowed = {
            "stop": session.is_training and not session.is_stopping,
            "evaluate": session.is_training,
            "export": session.can_export,
            "next": session.can_export,
            "chat": session.bundle is not None,
            "resume": session.can_resume,
            "plan": session.run is not None and session.run.state.plan is not None,
            "view": session.run is not None and bool(session.run.state.losses),
        }
        return None if allowed.get(action) is False else super().check_action(action, parameters)

    def action_stop(self) -> None:
        """Stop after this step and keep the best prompt."""
        self.ptune.session.stop_run(save=True)
        self.refresh_place()

    def action_evaluate(self) -> None:
        """Score the validation rows after this step."""
        self.ptune.session.evaluate_now()
        self.notify("The validation rows are scored after this step.")

    def action_view(self) -> None:
        """Change the chart between all steps and the last ones."""
        self._chart().toggle_view()

    def action_resume(self) -> None:
        """Go on with the run from its last checkpoint."""
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
            session.bundle = bundle
            self.action_chat()

    def action_chat(self) -> None:
        """Talk to the bundle."""
        self.ptune.action_show_place("chat")

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
        self.query_one(Notices).show(run.task.notices)
        self.query_one(Tiles).show(run)
        self.query_one(Scores).show(run)
        self._show_answers_or_reasons(run)
        self.query_one(StageList).show(run.task.stages.values(), self.ptune.clock())
        bundle = None if session.is_training else session.run_bundle
        self.query_one(Ending).show(run, bundle, self._next_keys(bundle))
        self._chart().show(run.losses)

    def _show_answers_or_reasons(self, run: RunState) -> None:
        """The box that the last answers and the plan's reasons share."""
        shows_reasons = self.shows_reasons and run.plan is not None
        box, samples, reasons = (
            self.query_one("#samples-box"),
            self.query_one(Samples),
            self.query_one(Reasons),
        )
        samples.display, reasons.display = not shows_reasons, shows_reasons
        samples.show(run.samples)
        reasons.show(run.plan)
        self.query_one(PlanLine).show(run.plan)
        box.border_title = "why this plan" if shows_reasons else "last answers"
        other = "last answers" if shows_reasons else "why this plan"
        box.border_subtitle = f"p: {other}" if run.plan else ""

    def _next_keys(self, bundle: Path | None) -> str:
        """What can be done, once the run has ended."""
        session = self.ptune.session
        if session.is_training or session.is_exporting:
            return ""
        keys = ["Enter exports it"] if session.can_export and bundle is None else []
        keys += ["Enter talks to the bundle, x exports again"] if bundle is not None else []
        keys += ["r goes on with the run"] if session.can_resume else []
        return ", ".join([*keys, "2 sets up another run"])

    def _chart(self) -> LossChart:
        from ptune_tui.tui.widgets.loss_chart import LossChart

        return self.query_one(LossChart)
