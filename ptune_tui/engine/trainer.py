"""The training loop: a generator of events; it never knows who listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ptune_tui.config import TrainingConfig
from ptune_tui.engine.checkpoints import Stored
from ptune_tui.engine.divergence import loss_sign, prompt_sign, root_mean_square
from ptune_tui.engine.memory import finish, peak_memory_bytes
from ptune_tui.engine.optimisation import Gradient, Optimisation, RowOrder
from ptune_tui.engine.pausing import asks_to_pause, wait
from ptune_tui.engine.run_state import Progress, RunState, best_prompt, capture, restore
from ptune_tui.engine.schedule import schedule
from ptune_tui.engine.validation import Validation
from ptune_tui.errors import DataError, UsageError
from ptune_tui.events import (
    Command,
    Continue,
    Continued,
    Diverged,
    EvaluateNow,
    Event,
    Notice,
    Paused,
    Resumed,
    RolledBack,
    StageFinished,
    StageStarted,
    StateSaved,
    StepDone,
    Stop,
)

MAX_ROLLBACKS = 2
ROLLBACK_SCALE = 0.3
_SPEED_WINDOW = 20


@dataclass
class Trainer:
    """Trains one prompt.

    Attributes:
        optimisation: The steps.
        validation: The scores; holds the best prompt once `run` is through.
        settings: How to train.
        save: Writes a state and returns where.
        progress: Where the run is; a base that was scored already is not scored again.
        stopped_early: Whether it was told to stop before its last step.
        is_discarded: Whether it was told not to keep what it has.
    """

    optimisation: Optimisation
    validation: Validation
    settings: TrainingConfig
    save: Callable[[RunState], Path]
    progress: Progress = field(default_factory=Progress)
    stopped_early: bool = False
    is_discarded: bool = False
    _seconds: list[float] = field(default_factory=list)
    _tokens: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.settings
        self._order = RowOrder(self.optimisation.rows, settings.batch_size, settings.seed)
        self._good: RunState | None = None  # where a rollback goes
        self._clock = time.perf_counter()

    def run(
        self, commands: Callable[[], list[Command]], resumed: tuple[Stored, RunState] | None = None
    ) -> Iterator[Event]:
        """Train, validate and keep the best prompt.

        Args:
            commands (Callable[[], list[Command]]): Polled after every step.
            resumed (tuple[Stored, RunState] | None): The state to go on from, and the last good one
                before it.

        Raises:
            UsageError: Training diverged once more after it was rolled back twice.
            DataError: The data order is not the one that the state was saved in.
        """
        if resumed is None:
            if self.progress.base_accuracy is None:
                yield from self.validation.base(self.progress)
            self.progress.start_size = root_mean_square(self.optimisation.method())
            yield self._save()
        else:
            yield from self._resume(*resumed)
        yield StageStarted("train", time.time())
        started = time.perf_counter()
        self._clock = started - self.progress.elapsed_seconds
        yield from self._steps(commands)
        yield StageFinished("train", time.perf_counter() - started)
        is_whole = not self.stopped_early and not self.is_discarded
        if is_whole and not self.validation.uses_all_rows:
            yield from self.validation.on_all_rows(self.progress)

    def _resume(self, stored: Stored, good: RunState) -> Iterator[Event]:
        if stored.problem is not None:
            yield Notice(
                "checkpoint",
                f"The latest checkpoint cannot be used: {stored.problem} The one before it is.",
            )
        self._good = good
        self._put_back(stored.state)
        best = best_prompt(stored.state)
        if best is not None and self.progress.best is not None:
            self.validation.put_back(best, self.progress)
        yield Resumed(self.progress.step, str(stored.folder))

    def _put_back(self, state: RunState) -> None:
        self.progress = restore(state, self.optimisation.method, self.optimisation.optimizer)
        self._order.go_to(self.progress.num_batches)
        if self._order.last != self.progress.last_batch:
            raise DataError(
                f"The rows of step {self.progress.step} come out in another order than when the "
                "checkpoint was written (another version of torch or ptune?).",
                "Resume with the versions that the run was started with, or start another run.",
            )

    def _steps(self, commands: Callable[[], list[Command]]) -> Iterator[Event]:
        while not self._is_over():
            step_started = time.perf_counter()
            found = self.optimisation.gradient(self._order.draw())
            diverged = self._sign(found)
            if diverged is not None:
                yield diverged
                yield from self._roll_back(diverged)
                continue
            rate = self._rate()
            self.optimisation.update(rate)
            finish(self.optimisation.frozen.device)
            self._seconds.append(time.perf_counter() - step_started)
            self._tokens.append(found.num_tokens)
            yield self._step_done(found, rate)
            yield from self._between_steps(commands)
            if self.stopped_early or self.is_discarded:
                return

    def _is_over(self) -> bool:
        settings, progress = self.settings, self.progress
        patience = settings.early_stopping
        return progress.step >= settings.max_steps or (
            patience > 0 and progress.num_without_better >= patience
        )

    def _sign(self, found: Gradient) -> Diverged | None:
        """Whether the step that comes next has diverged."""
        step, progress = self.progress.step + 1, self.progress
        return prompt_sign(step, found.prompt_size, progress.start_size) or loss_sign(
            step, found.loss, found.norm, progress.watch
        )

    def _rate(self) -> float:
        """The absolute rate of the step that comes next."""
        settings = self.settings
        share = schedule(self.progress.step + 1, settings.warmup_steps, settings.max_steps)
        return self.optimisation.peak_rate * self.progress.rate_scale * share

    def _step_done(self, found: Gradient, rate: float) -> StepDone:
        progress = self.progress
        progress.step += 1
        progress.num_batches = self._order.num_drawn
        progress.last_batch = self._order.last
        progress.elapsed_seconds = time.perf_counter() - self._clock
        seconds = self._seconds[-_SPEED_WINDOW:]
        steps_left = self.settings.max_steps - progress.step
        return StepDone(
            step=progress.step,
            max_steps=self.settings.max_steps,
            loss=found.loss,
            learning_rate=rate,
            gradient_norm=found.norm,
            tokens_per_second=sum(self._tokens[-_SPEED_WINDOW:]) / sum(seconds),
            peak_memory_bytes=peak_memory_bytes(self.optimisation.frozen.device),
            elapsed_seconds=progress.elapsed_seconds,
            eta_seconds=progress.elapsed_seconds / progress.step * steps_left,
        )

    def _between_steps(self, commands: Callable[[], list[Command]]) -> Iterator[Event]:
        """Validate, save, wait and stop, as the settings and the commands say."""
        asked = commands()
        yield from self._obey(asked, is_scheduled=self._is_scheduled())
        if asks_to_pause(asked) and not self.stopped_early and not self._is_over():
            yield from self._pause(commands)

    def _is_scheduled(self) -> bool:
        step, settings = self.progress.step, self.settings
        return step % settings.evaluate_every == 0 or step == settings.max_steps

    def _pause(self, commands: Callable[[], list[Command]]) -> Iterator[Event]:
        """Wait until a command says to go on or to stop; an evaluation may be asked for."""
        if self.progress.watch.is_calm:
            yield self._save()  # whatever happens meanwhile, nothing is lost
        yield Paused(self.progress.step)
        seconds = 0.0
        while not self.stopped_early:
            asked, waited = wait(commands)
            self._clock += waited  # the wait is no training
            seconds += waited
            if any(isinstance(command, Stop | EvaluateNow) for command in asked):
                yield from self._obey(asked, is_scheduled=False)
            if any(isinstance(command, Continue) for command in asked):
                yield Continued(self.progress.step, seconds)
                if not asks_to_pause(asked):
                    return
                yield Paused(self.progress.step)
                seconds = 0.0

    def _obey(self, asked: list[Command], *, is_scheduled: bool) -> Iterator[Event]:
        """Validate, save and stop."""
        settings, step = self.settings, self.progress.step
        stop = next((command for command in asked if isinstance(command, Stop)), None)
        if stop is not None:
            self.stopped_early = step < settings.max_steps
            if not stop.save:
                self.is_discarded = True
                return
            yield self._save()  # before the validation, which takes longer
        is_asked = any(isinstance(command, EvaluateNow) for command in asked)
        if is_scheduled or is_asked or stop is not None:
            prompt = self.optimisation.method().detached()
            yield from self.validation.tuned(prompt, self.progress, counts=is_scheduled)
            self.progress.elapsed_seconds = time.perf_counter() - self._clock
            yield from self._early_stopping_notice()
        elif step % settings.save_every != 0:
            return
        if self.progress.watch.is_calm or stop is not None:
            yield self._save()

    def _early_stopping_notice(self) -> Iterator[Event]:
        progress = self.progress
        if self._is_over() and progress.step < self.settings.max_steps:
            best = progress.best.step if progress.best else 0
            yield Notice(
                "early-stopping",
                f"Stopped at step {progress.step}: {progress.num_without_better} validations were "
                f"not better than that of step {best}.",
            )

    def _save(self) -> StateSaved:
        optimisation = self.optimisation
        state = capture(
            self.progress, optimisation.method, optimisation.optimizer, self.validation.best
        )
        if self.progress.watch.is_calm:
            self._good = state
        return StateSaved(self.progress.step, str(self.save(state)))

    def _roll_back(self, diverged: Diverged) -> Iterator[Event]:
        """Go on from the last good state at a lower rate; the best prompt stays."""
        progress = self.progress
        reason = f"The {diverged.what} of step {diverged.step} {diverged.reason}"
        if self._good is None or progress.num_rollbacks == MAX_ROLLBACKS:
            raise _divergence(reason, self._rate(), progress)
        self._put_back(self._good)
        self.progress = msgspec.structs.replace(
            self.progress,
            rate_scale=progress.rate_scale * ROLLBACK_SCALE,
            num_rollbacks=progress.num_rollbacks + 1,
            best=progress.best,
            num_without_better=progress.num_without_better,
            elapsed_seconds=time.perf_counter() - self._clock,
        )
        peak = self.optimisation.peak_rate * self.progress.rate_scale
        yield RolledBack(diverged.step, self.progress.step, peak, reason)
        yield self._save()


def _divergence(reason: str, rate: float, progress: Progress) -> UsageError:
    kept = "Nothing was kept"
    if progress.best is not None:
        kept = f"The best prompt (step {progress.best.step}) is kept in the run folder"
    return UsageError(
        f"{reason} at a learning rate of {rate:.3g}; training went back "
        f"{progress.num_rollbacks} times to a lower one, and diverged again.",
        f"{kept}. Lower `--learning-rate`; `ptune train --find-lr` proposes one.",
    )
