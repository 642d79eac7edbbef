"""A training run as the app shows it, folded from its events. Draws nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ptune_tui.events import (
    CheckpointSaved,
    Continued,
    DataReady,
    Diverged,
    EvaluationDone,
    Event,
    ModelReady,
    Notice,
    Paused,
    PlanMade,
    Resumed,
    RolledBack,
    SampleMade,
    StateSaved,
    StepDone,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
from ptune_tui.tui.progress import TRAIN_STAGES, TaskProgress, progress_of
from ptune_tui.tui.wording import rate_text
from ptune_tui.validations import Validations


@dataclass
class RunState:
    """What is known of a training run.

    Attributes:
        task: Stages, notices and ending.
        losses: (step, loss) of every step, finite ones only.
        step: The last step.
        base: The evaluation without a soft prompt.
        validations: Those with it, and the best of them.
        samples: Of the last evaluation.
        plan: How the steps are computed.
        best_checkpoint: The prompt that was kept.
        last_saved: The step that a resume goes on from; 0 to begin again.
        is_stopping: Whether it was told to stop.
        is_pausing: Whether it was told to wait, and has not said yet that it does.
        is_paused: Whether it waits.
    """

    task: TaskProgress = field(default_factory=lambda: progress_of(TRAIN_STAGES))
    model: ModelReady | None = None
    data: DataReady | None = None
    losses: list[tuple[int, float]] = field(default_factory=list)
    step: StepDone | None = None
    base: EvaluationDone | None = None
    validations: Validations = field(default_factory=Validations)
    samples: list[SampleMade] = field(default_factory=list)
    plan: PlanMade | None = None
    best_checkpoint: CheckpointSaved | None = None
    last_saved: int | None = None
    is_stopping: bool = False
    is_pausing: bool = False
    is_paused: bool = False

    @property
    def tuned(self) -> list[EvaluationDone]:
        """The evaluations with the soft prompt, in order."""
        return self.validations.tuned

    @property
    def best(self) -> EvaluationDone | None:
        """The evaluation of the prompt that was kept."""
        return self.validations.best

    def add(self, event: Event) -> None:
        """Take in one event."""
        self.task.add(event)
        match event:
            case StepDone():
                self._add_step(event)
            case EvaluationDone(tuned=True):
                self.validations.add(event)
            case EvaluationDone():
                self.base = event
            case SampleMade():
                self._add_sample(event)
            case CheckpointSaved() | StateSaved():
                self._add_checkpoint(event)
            case PlanMade():
                self.plan = event
            case ModelReady():
                self.model = event
            case DataReady():
                self.data = event
            case Diverged():
                self.task.add(_divergence(event))
            case Resumed():
                self._go_back(event, event.step)
                self.task.add(Notice("resumed", f"Resumed after step {event.step}."))
            case RolledBack():
                self._go_back(event, event.to_step)
                self.task.drop_notices("diverged")  # the roll-back says it too
                self.task.add(_roll_back(event))
            case Paused() | Continued():
                self._wait(event)
            case TaskStarted():
                self._tell_saved()
                self.is_stopping = self.is_pausing = self.is_paused = False
            case TaskFinished() | TaskFailed():
                self.is_pausing = self.is_paused = False
            case _:
                pass

    def go_on(self) -> None:
        """Wait for a worker that goes on where another one ended."""
        self.task.begin_again()
        self._tell_saved()
        self.is_stopping = self.is_pausing = self.is_paused = False

    @property
    def was_cut(self) -> bool:
        """Whether it ended before its last step, and left a state to go on from."""
        ending = self.task.ending
        was_cut = isinstance(ending, TaskFailed) or (ending is not None and ending.stopped_early)
        return was_cut and self.last_saved is not None

    @property
    def is_stepping(self) -> bool:
        """Whether the worker that is at work now has made a step."""
        return self.task.stages["train"].done > 0

    @property
    def is_scoring(self) -> bool:
        """Whether the validation rows are scored at present."""
        return self.task.stages["evaluate"].status == "running"

    @property
    def is_free_text(self) -> bool:
        """Whether answers are free text, of which the loss says more than the exact matches."""
        return self.data is not None and self.data.labels is None

    @property
    def validation_points(self) -> list[tuple[int, float]]:
        """(step, accuracy in %) of every validation, or the loss of free text; the base at 0."""
        found = [self.base, *self.tuned] if self.base else self.tuned
        if self.is_free_text:
            return [(done.step, done.loss) for done in found if done.loss is not None]
        return [(done.step, 100 * done.accuracy) for done in found]

    def _wait(self, event: Paused | Continued) -> None:
        """Stop the clock of the training, or set it going again."""
        stage = self.task.stages["train"]
        self.is_pausing = False
        self.is_paused = stage.is_paused = isinstance(event, Paused)
        if isinstance(event, Continued) and stage.started is not None:
            stage.started += event.seconds

    def _go_back(self, event: Resumed | RolledBack, step: int) -> None:
        """Forget what came after a step: it is done again."""
        self.validations.add(event)
        self.losses = [(number, loss) for number, loss in self.losses if number <= step]
        self.is_stopping = False

    def _add_step(self, event: StepDone) -> None:
        self.step = event
        if math.isfinite(event.loss):
            self.losses.append((event.step, event.loss))
        stage = self.task.stages["train"]
        stage.done, stage.total = event.step, event.max_steps
        stage.elapsed = max(0.0, event.elapsed_seconds - stage.inner_seconds)

    def _add_checkpoint(self, event: CheckpointSaved | StateSaved) -> None:
        if isinstance(event, StateSaved):
            self.validations.add(event)
            self.last_saved = event.step
            if event.step == 0:
                return  # nothing was done that could be saved
        elif event.is_best:
            self.best_checkpoint = event
        self.task.mark_done("save", _saved_words(self.best_checkpoint, self.last_saved))

    def _tell_saved(self) -> None:
        """Say what a new worker finds: it has saved nothing itself yet."""
        self.task.stages["save"].detail = _saved_words(self.best_checkpoint, self.last_saved)

    def _add_sample(self, event: SampleMade) -> None:
        if self.samples and self.samples[0].step != event.step:
            self.samples.clear()
        self.samples.append(event)


def _saved_words(best: CheckpointSaved | None, last: int | None) -> str:
    """Which checkpoints there are: the best prompt, and the state that a resume begins from."""
    words = [f"best {best.step}"] if best else []
    words += [f"last {last}"] if last else []
    return ", ".join(words)


def _roll_back(event: RolledBack) -> Notice:
    return Notice(
        "rolled-back",
        f"{event.reason}; went back to step {event.to_step}, at a peak rate of "
        f"{rate_text(event.learning_rate)}.",
    )


def _divergence(event: Diverged) -> Notice:
    return Notice(
        "diverged",
        f"The {event.what} of step {event.step} {event.reason}.",
        "Lower the learning rate where it happens again.",
    )
