"""What the app is working on: a run, its export, a preview, a range test, a bundle to talk to.

Draws nothing; the app polls it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptune_tui import jobs
from ptune_tui.bundles import MANIFEST_FILE
from ptune_tui.config import RunConfig
from ptune_tui.events import EvaluateNow, Event, PreviewMade, Stop, TaskFailed
from ptune_tui.jobs import Job
from ptune_tui.paths import runs_folder
from ptune_tui.runs import run_config
from ptune_tui.tasks import (
    ExportTask,
    FindRateTask,
    PreviewTask,
    TrainTask,
    new_folder,
    with_absolute_paths,
)
from ptune_tui.tui.compare_state import TableState
from ptune_tui.tui.comparison import Comparison
from ptune_tui.tui.export_state import ExportState
from ptune_tui.tui.followed import Followed, end
from ptune_tui.tui.progress import TaskProgress, progress_of
from ptune_tui.tui.rate_state import RateState
from ptune_tui.tui.run_state import RunState

BUNDLE_FOLDER = "bundle"
Work = Literal["training", "export", "comparison"]


@dataclass
class PreviewState:
    """What is known of a preview."""

    task: TaskProgress
    made: PreviewMade | None = None

    def add(self, event: Event) -> None:
        """Take in one event."""
        self.task.add(event)
        if isinstance(event, PreviewMade):
            self.made = event


class Session:
    """The app's work.

    Args:
        bundle (Path | None): A bundle to talk to.

    Attributes:
        run: The training run that is shown.
        run_config: Its configuration.
        export: The last export.
        preview: The data preview.
        rate: The range test of learning rates.
        comparison: Tables and answers of those that are compared.
        bundle: What the chat opens.
        prompt: Which of its prompts answers first; None for the first.
        num_bundles: How many bundles were written: the one that is open may have changed.
        run_to_export: The run that the place Export is to choose next.
    """

    def __init__(self, bundle: Path | None = None) -> None:
        self.bundle = bundle
        self.prompt: str | None = None
        self.num_bundles = 0
        self.run_to_export: Path | None = None
        self.run: Followed[RunState] | None = None
        self.run_config: RunConfig | None = None
        self.export: Followed[ExportState] | None = None
        self.preview: Followed[PreviewState] | None = None
        self.rate: Followed[RateState] | None = None
        self.comparison = Comparison()

    @property
    def is_training(self) -> bool:
        """Whether a training run goes on."""
        return self.run is not None and self.run.is_active

    @property
    def is_stopping(self) -> bool:
        """Whether the run was told to stop."""
        return self.run is not None and self.run.state.is_stopping

    @property
    def is_exporting(self) -> bool:
        """Whether an export goes on."""
        return self.export is not None and self.export.is_active

    @property
    def is_finding_rate(self) -> bool:
        """Whether a range test goes on."""
        return self.rate is not None and self.rate.is_active

    @property
    def work_that_goes_on(self) -> Work | None:
        """What would have to be ended or left behind, were the app to close."""
        if self.is_training:
            return "training"
        if self.is_exporting:
            return "export"
        return "comparison" if self.comparison.is_making_table else None

    @property
    def followed(self) -> Followed[RunState] | Followed[ExportState] | Followed[TableState] | None:
        """The worker of that work."""
        if self.is_training:
            return self.run
        return self.export if self.is_exporting else self.comparison.table

    @property
    def can_export(self) -> bool:
        """Whether there is a prompt, and nobody works on it."""
        if self.run is None or self.run.is_active or self.is_exporting:
            return False
        return self.run.state.best_checkpoint is not None

    def start_run(self, config: RunConfig) -> None:
        """Start to train in a new run folder."""
        self.comparison.stop_answers()  # a run needs their memory
        folder = new_folder(runs_folder(), _run_name(config))
        self._show(jobs.start(folder, TrainTask(with_absolute_paths(config))), config)

    @property
    def can_resume(self) -> bool:
        """Whether the run ended before its last step, and left a state to go on from."""
        if self.run is None or self.run.is_active or self.is_exporting or self.run_config is None:
            return False
        state = self.run.state
        ending = state.task.ending
        was_cut = isinstance(ending, TaskFailed) or (ending is not None and ending.stopped_early)
        return was_cut and state.last_saved is not None

    def resume_run(self) -> None:
        """Go on with the run from its last checkpoint."""
        assert self.run is not None
        assert self.run_config is not None
        task = TrainTask(self.run_config, resume=True)
        self.run = Followed(jobs.start(self.run.job.folder, task), self.run.state)
        self.run.state.go_on()

    def attach(self, run: Path) -> None:
        """Show a run that is there already."""
        self._show(jobs.attach(run), run_config(run))
        self._find_bundle(run)

    def _find_bundle(self, run: Path) -> None:
        bundle = run.absolute() / BUNDLE_FOLDER
        if (bundle / MANIFEST_FILE).is_file():
            self.bundle = self.bundle or bundle

    def shows(self, run: Path) -> bool:
        """Whether the run that is shown is the one of a folder."""
        return self.run is not None and self.run.job.folder.absolute() == run.absolute()

    def open_run(self, run: Path) -> None:
        """Show another run and its bundle; what was shown before goes on by itself.

        Raises:
            UsageError: It is gone.
        """
        if not self.shows(run):
            followed, config = jobs.attach(run), run_config(run)
            self.bundle = None
            self._show(followed, config)
            self._find_bundle(run)
            self.poll()

    def forget_run(self, run: Path) -> None:
        """Show a run no longer that was deleted."""
        if self.shows(run):
            self.run = self.run_config = self.export = None
        if self.bundle is not None and self.bundle.absolute().is_relative_to(run.absolute()):
            self.bundle = None

    def stop_run(self, *, save: bool) -> None:
        """Ask the run to stop after its step."""
        if self.run is not None and self.is_training:
            self.run.job.send(Stop(save))
            self.run.state.is_stopping = True

    def evaluate_now(self) -> None:
        """Ask the run to score the validation rows after its step."""
        if self.run is not None and self.is_training:
            self.run.job.send(EvaluateNow())

    @property
    def run_bundle(self) -> Path | None:
        """The bundle that was written of the run, if there is one."""
        if self.run is None:
            return None
        folder = self.run.job.folder.absolute()
        if self.export is not None and self.export.state.asked.run == str(folder):
            bundle = self.export.state.bundle
            if bundle is not None:
                return bundle
        bundle = folder / BUNDLE_FOLDER
        return bundle if (bundle / MANIFEST_FILE).is_file() else None

    @property
    def example(self) -> str:
        """A text to ask the bundle first: a validation row of the run that it was made of."""
        if self.run is None or self.bundle is None or self.bundle != self.run_bundle:
            return ""
        texts = [sample.prompt for sample in self.run.state.samples]
        return next((text for text in texts if "\n" not in text), "")

    def start_export(self, task: ExportTask) -> None:
        """Write a run as a bundle, or for another program."""
        folder = jobs.new_task_folder("export")
        self.export = Followed(jobs.start(folder, task), ExportState(task))

    def cancel_export(self) -> None:
        """End an export that goes on; what it has written is taken away."""
        if self.export is not None and self.is_exporting:
            self.export.state.is_cancelled = True
            end(self.export)

    def start_preview(self, config: RunConfig) -> None:
        """Tokenise the first rows, in place of an earlier preview."""
        self.end_preview()
        folder = jobs.new_task_folder("preview")
        job = jobs.start(folder, PreviewTask(config.model, config.data))
        self.preview = Followed(job, PreviewState(progress_of(())))

    def end_preview(self) -> None:
        """End a preview that still goes on."""
        end(self.preview)
        self.preview = None

    def start_rate_test(self, config: RunConfig) -> None:
        """Try rising learning rates, in place of an earlier test."""
        self.end_rate_test()
        folder = jobs.new_task_folder("find-rate")
        job = jobs.start(folder, FindRateTask(with_absolute_paths(config)))
        self.rate = Followed(job, RateState())

    def end_rate_test(self) -> None:
        """End a range test that still goes on."""
        end(self.rate)
        self.rate = None

    def poll(self) -> bool:
        """Take in all new events; says whether there were any, or any job is active."""
        changed, was_exporting = False, self.is_exporting
        for followed in (self.run, self.export, self.preview, self.rate):
            if followed is not None and followed.is_active:
                followed.poll()
                changed = True
        changed = self.comparison.poll() or changed
        if self.export is not None and was_exporting and not self.is_exporting:
            self._take_bundle(self.export.state)
        return changed

    def _take_bundle(self, state: ExportState) -> None:
        """Let the chat open what an export has written."""
        if state.bundle is not None:
            self.bundle, self.prompt = state.bundle, state.asked.prompt_name
            self.num_bundles += 1

    def _show(self, job: Job, config: RunConfig | None) -> None:
        self.run, self.run_config = Followed(job, RunState()), config


def _run_name(config: RunConfig) -> str:
    model = Path(config.model.source).stem
    return f"{model}-{Path(config.data.train).stem}"
