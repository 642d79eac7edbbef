"""What Setup tries before a run: rows in tokens, and a range test of learning rates.

Draws nothing; the session polls it.
"""

from __future__ import annotations

from ptune_tui import jobs
from ptune_tui.config import DataConfig, ModelConfig, RunConfig
from ptune_tui.models import local_model
from ptune_tui.tasks import FindRateTask, PreviewTask, with_absolute_paths
from ptune_tui.tui.followed import Followed, end
from ptune_tui.tui.preview_state import PreviewState
from ptune_tui.tui.progress import progress_of
from ptune_tui.tui.rate_state import RateState


class Trials:
    """The trials.

    Attributes:
        preview: The data preview.
        rate: The range test of learning rates.
    """

    def __init__(self) -> None:
        self.preview: Followed[PreviewState] | None = None
        self.rate: Followed[RateState] | None = None
        self._models_here: dict[str, bool] = {}

    @property
    def is_finding_rate(self) -> bool:
        """Whether a range test goes on."""
        return self.rate is not None and self.rate.is_active

    def start_preview(self, model: ModelConfig, data: DataConfig) -> None:
        """Tokenise the first rows; an earlier preview of the same data is shown meanwhile."""
        state = self.preview.state if self.preview else None
        before = state.made if state and state.asked.data.train == data.train else None
        self.end_preview()
        task = PreviewTask(model, data)
        job = jobs.start(jobs.new_task_folder("preview"), task)
        self.preview = Followed(job, PreviewState(progress_of(()), task, before))

    def look_for_model(self, source: str) -> None:
        """See whether a model is on this disk. Reads folders; not for the event loop."""
        self._models_here[source] = local_model(source) is not None

    def is_model_here(self, source: str) -> bool:
        """Whether a model was on this disk when it was looked for."""
        return self._models_here.get(source, False)

    def end_preview(self) -> None:
        """End a preview that still goes on."""
        end(self.preview)
        self.preview = None

    def start_rate_test(self, config: RunConfig) -> None:
        """Try rising learning rates, in place of an earlier test."""
        self.end_rate_test()
        folder = jobs.new_task_folder("find-rate")
        task = FindRateTask(with_absolute_paths(config))
        self.rate = Followed(jobs.start(folder, task), RateState(num_rates=task.num_steps))

    def end_rate_test(self) -> None:
        """End a range test that still goes on."""
        end(self.rate)
        self.rate = None
