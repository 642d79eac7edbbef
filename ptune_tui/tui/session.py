"""What the app is working on: a run, its export, trials, comparisons, a bundle to talk to.

Draws nothing; the app polls it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ptune_tui import jobs
from ptune_tui.bundles import bundle_in
from ptune_tui.config import RunConfig
from ptune_tui.errors import UsageError
from ptune_tui.jobs import Job
from ptune_tui.locks import lock_is_held
from ptune_tui.paths import runs_folder
from ptune_tui.run_index import run_location
from ptune_tui.run_listing import RunListing
from ptune_tui.run_prompt import has_prompt
from ptune_tui.runs import run_config
from ptune_tui.tasks import ExportTask, TrainTask, has_task, new_folder, with_absolute_paths
from ptune_tui.tui.compare_state import TableState
from ptune_tui.tui.comparison import Comparison
from ptune_tui.tui.export_state import ExportState
from ptune_tui.tui.followed import Followed, end
from ptune_tui.tui.opened_run import OpenedRun
from ptune_tui.tui.rate_state import RateState
from ptune_tui.tui.run_state import RunState
from ptune_tui.tui.talk import Talk
from ptune_tui.tui.trials import Trials

Work = Literal["training", "export", "comparison", "range test"]
AtWork = Followed[RunState] | Followed[ExportState] | Followed[TableState] | Followed[RateState]


class Session:
    """The app's work.

    Args:
        bundle (Path | None): A bundle to talk to.

    Attributes:
        run: The training run that is shown.
        run_config: Its configuration.
        export: The last export.
        trials: What is tried before a run.
        talk: The bundle that one talks to, and the child that answers.
        run_to_export: The run that the place Export is to choose next.
        listing: Of all runs; every place that lists them reads only what has changed.
        comparison: Tables and answers of those that are compared.
    """

    def __init__(self, bundle: Path | None = None) -> None:
        self.talk = Talk(bundle)
        self.run_to_export: Path | None = None
        self.run: Followed[RunState] | None = None
        self.run_config: RunConfig | None = None
        self.export: Followed[ExportState] | None = None
        self.trials = Trials()
        self.listing = RunListing()
        self.comparison = Comparison()
        self._has_prompt = self._was_exporting = False
        self._activity: list[bool] = []

    @property
    def bundle(self) -> Path | None:
        """The bundle that one talks to; Compare offers it, and the summary names it."""
        return self.talk.bundle

    @property
    def is_training(self) -> bool:
        """Whether a training run goes on."""
        return self.run is not None and self.run.is_active

    @property
    def is_stopping(self) -> bool:
        """Whether the run was told to stop."""
        return self.run is not None and self.run.state.is_stopping

    @property
    def is_paused(self) -> bool:
        """Whether the run waits to be told to go on."""
        return self.run is not None and self.run.is_active and self.run.state.is_paused

    @property
    def is_scoring(self) -> bool:
        """Whether the run scores the validation rows at present."""
        return self.is_training and self.run is not None and self.run.state.is_scoring

    @property
    def is_exporting(self) -> bool:
        """Whether an export goes on: no other one can be followed meanwhile."""
        return self.export is not None and self.export.is_active

    @property
    def has_own_export(self) -> bool:
        """Whether an export goes on that no command in another terminal waits for."""
        return self.export is not None and self.is_exporting and not self.export.state.is_anothers

    def is_exported(self, run: Path) -> bool:
        """Whether a run is being exported, or an export writes into its folder."""
        return self.export is not None and self.is_exporting and self.export.state.concerns(run)

    @property
    def doing(self) -> str:
        """What goes on that leaves no room for other work, in words; empty for nothing."""
        if self.is_training:
            return "training"
        if self.has_own_export:
            return "exporting"
        if self.comparison.is_making_table:
            return "comparing"
        return "finding a rate" if self.trials.is_finding_rate else ""

    @property
    def is_busy(self) -> bool:
        """Whether new work has to wait: two models at once would be short of memory.

        An export that a command in another terminal waits for holds nothing up: who works in two
        terminals has asked for two.
        """
        return bool(self.doing)

    @property
    def work_that_goes_on(self) -> list[Work]:
        """What would have to be ended or left behind, were the app to close."""
        known: dict[Work, bool] = {
            "training": self.is_training,
            "export": self.has_own_export,
            "comparison": self.comparison.is_making_table,
            "range test": self.trials.is_finding_rate,
        }
        return [work for work, goes_on in known.items() if goes_on]

    @property
    def at_work(self) -> list[AtWork]:
        """The workers of that work: a run of another app may go on beside ours."""
        export = self.export if self.has_own_export else None
        all_followed = (self.run, export, self.comparison.table, self.trials.rate)
        return [each for each in all_followed if each is not None and each.is_active]

    @property
    def can_export(self) -> bool:
        """Whether there is a prompt, and nobody works on it."""
        is_at_rest = self.run is not None and not self.run.is_active and not self.is_exporting
        return is_at_rest and self._has_prompt

    def start_run(self, config: RunConfig) -> None:
        """Start to train in a new run folder."""
        self.comparison.stop_answers()  # a run needs their memory
        folder = new_folder(runs_folder(), _run_name(config))
        self._show(jobs.start(folder, TrainTask(with_absolute_paths(config))), config)

    @property
    def can_resume(self) -> bool:
        """Whether the run ended before its last step, and left a state to go on from."""
        if self.run is None or self.is_busy or self.run_config is None:
            return False
        return self.run.state.was_cut and not self.is_exported(self.run.job.folder)

    def resume_run(self) -> None:
        """Go on with the run from its last checkpoint."""
        assert self.run is not None
        assert self.run_config is not None
        if not has_task(self.run.job.folder):
            raise UsageError(f"The folder {self.run.job.folder} was deleted or moved.")
        self.comparison.stop_answers()
        task = TrainTask(self.run_config, resume=True)
        self.run = Followed(jobs.start(self.run.job.folder, task), self.run.state)
        self.run.state.go_on()

    def attach(self, run: Path) -> None:
        """Show a run that is there already."""
        self._show(jobs.attach(run), run_config(run))
        self.talk.bundle = self.talk.bundle or bundle_in(run)

    def shows(self, run: Path) -> bool:
        """Whether the run that is shown is the one of a folder, whatever leads to it."""
        return self.run is not None and run_location(self.run.job.folder) == run_location(run)

    def is_behind(self, run: Path) -> bool:
        """Whether another program goes on with the run that is shown as one that has ended."""
        return self.shows(run) and not self.is_training and lock_is_held(run)

    def show_run(self, opened: OpenedRun) -> None:
        """Show another run and its bundle; what was shown before goes on by itself."""
        if opened.bundle != self.bundle:
            self.talk.end()
        self.run, self.run_config = opened.followed, opened.config
        self._look_for_prompt()
        self.talk.bundle = opened.bundle

    def end_chat(self, run: Path) -> None:
        """End the child that answers from a bundle in a run, at once: it is about to be deleted.

        Args:
            run (Path): The run's folder.
        """
        if self.talk.is_of(run):
            self.talk.end()

    def forget_run(self, run: Path) -> None:
        """Show a run no longer that was deleted."""
        if self.shows(run):
            self.run = self.run_config = None
        if self.export is not None and self.export.state.is_of(run):
            self.export = None
        if self.talk.is_of(run):
            self.talk.bundle = None

    @property
    def run_bundle(self) -> Path | None:
        """The bundle that was written of the run, if there is one."""
        if self.run is None:
            return None
        folder = self.run.job.folder
        exported = self.export.state.bundle if self.export is not None else None
        if self.export is not None and exported is not None and self.export.state.is_of(folder):
            return exported
        return bundle_in(folder)

    @property
    def example(self) -> str:
        """A text to ask the bundle first: a validation row of the run that it was made of."""
        if self.run is None or self.bundle is None or self.bundle != self.run_bundle:
            return ""
        texts = [sample.prompt for sample in self.run.state.samples]
        return next((text for text in texts if "\n" not in text), "")

    def start_export(self, task: ExportTask) -> None:
        """Write a run as a bundle, or for another program."""
        self.comparison.stop_answers()
        folder = jobs.new_task_folder("export")
        self.follow_export(Followed(jobs.start(folder, task), ExportState(task)))

    def follow_export(self, export: Followed[ExportState]) -> None:
        """Show an export as it goes; its bundle is taken when it has ended.

        Args:
            export (Followed[ExportState]): Begun here, or by an earlier app.
        """
        self.export, self._was_exporting = export, True

    def cancel_export(self) -> None:
        """End an export that goes on; what it has written is taken away."""
        if self.export is not None and self.is_exporting:
            self.export.state.is_cancelled = True
            end(self.export)

    def start_rate_test(self, config: RunConfig) -> None:
        """Try rising learning rates, in place of an earlier test."""
        self.comparison.stop_answers()  # it needs their memory
        self.trials.start_rate_test(config)

    def poll(self) -> bool:
        """Take in all new events; says whether there were any, or any job is or was active."""
        changed = False
        all_followed = (self.run, self.export, self.trials.preview, self.trials.rate)
        for followed in all_followed:
            if followed is not None and followed.is_active:
                followed.poll()
                changed = True
        # A worker may be gone only some time after its last event was taken in.
        activity = [followed is not None and followed.is_active for followed in all_followed]
        changed |= activity != self._activity
        changed |= self.comparison.poll()
        self._activity = activity
        is_exporting = self.is_exporting  # asked once: its process may be gone at any moment
        if self.export is not None and self._was_exporting and not is_exporting:
            self.talk.take_export(self.export.state)
        self._was_exporting = is_exporting
        if changed:
            self._look_for_prompt()
        return changed

    def _look_for_prompt(self) -> None:
        """Ask the disk when something has changed: every key asks whether a run can be exported."""
        self._has_prompt = self.run is not None and has_prompt(self.run.job.folder)

    def _show(self, job: Job, config: RunConfig | None) -> None:
        self.run, self.run_config = Followed(job, RunState()), config
        self._look_for_prompt()


def _run_name(config: RunConfig) -> str:
    model = Path(config.model.source).stem
    return f"{model}-{Path(config.data.train).stem}"
