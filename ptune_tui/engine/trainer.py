"""The training loop: a generator of events; it never knows who listens."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import psutil
import torch

from export.encoding import EncodedRow
from ptune_tui.config import TrainingConfig
from ptune_tui.engine.batches import collate, training_order
from ptune_tui.engine.evaluate import Evaluator, Scores, shared_lead
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.step import training_gradient
from ptune_tui.errors import UsageError
from ptune_tui.events import (
    CheckpointSaved,
    Command,
    Diverged,
    EvaluateNow,
    EvaluationDone,
    Event,
    SampleMade,
    StageFinished,
    StageStarted,
    StepDone,
    Stop,
)
from ptune_tui.rows import Row

_NUM_SAMPLES = 3
_SPEED_WINDOW = 20


@dataclass(frozen=True)
class TaskRows:
    """The rows of a run, in words and in tokens."""

    train: Sequence[EncodedRow]
    validation_rows: Sequence[Row]
    validation: Sequence[EncodedRow]


@dataclass
class Trainer:
    """Trains one prompt.

    Attributes:
        evaluator: The model, the template and the labels.
        rows: What to train on and to validate by.
        method: What is trained.
        settings: How to train.
        save: Writes the prompt of a step with its accuracy and returns the path.
        report_progress: Called with rows scored and their number during evaluations.
        best: The best prompt found so far.
    """

    evaluator: Evaluator
    rows: TaskRows
    method: Method
    settings: TrainingConfig
    save: Callable[[Prompt, int, float], str]
    report_progress: Callable[[int, int], None]
    best_accuracy: float = -1.0
    best_step: int = 0
    stopped_early: bool = False
    is_discarded: bool = False
    best: Prompt | None = None
    _seconds: list[float] = field(default_factory=list)
    _tokens: list[int] = field(default_factory=list)

    def run(self, commands: Callable[[], list[Command]]) -> Iterator[Event]:
        """Train, validate and keep the best prompt.

        Args:
            commands (Callable[[], list[Command]]): Polled after every step.

        Raises:
            UsageError: The loss or the gradient is not finite.
        """
        settings = self.settings
        yield from self._evaluate(0, tuned=False)
        yield StageStarted("train", time.time())
        started = time.perf_counter()
        yield from self._steps(commands, started)
        yield StageFinished("train", time.perf_counter() - started)
        if settings.max_validation_rows < len(self.rows.validation) and not self.is_discarded:
            yield from self._evaluate_all()

    def _steps(self, commands: Callable[[], list[Command]], started: float) -> Iterator[Event]:
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed)
        optimizer = torch.optim.AdamW(
            self.method.parameters(), lr=1.0, weight_decay=settings.weight_decay
        )
        peak_rate = (settings.learning_rate or self.method.default_rate) * self.method.unit
        lead = shared_lead(self.rows.train, self.evaluator.encoder.lead_ids())
        lengths = [row.num_tokens for row in self.rows.train]
        order = training_order(lengths, settings.batch_size, generator)
        for step in range(1, settings.max_steps + 1):
            step_started = time.perf_counter()
            batch = collate([self.rows.train[number] for number in next(order)], len(lead))
            rate = peak_rate * schedule(step, settings.warmup_steps, settings.max_steps)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            loss = training_gradient(self.evaluator.frozen, self.method(), lead, batch)
            norm = float(
                torch.nn.utils.clip_grad_norm_(self.method.parameters(), settings.max_gradient_norm)
            )
            if not (math.isfinite(loss) and math.isfinite(norm)):
                yield Diverged(step, "gradient" if math.isfinite(loss) else "loss")
                raise _divergence(step, rate)
            optimizer.step()
            self._seconds.append(time.perf_counter() - step_started)
            self._tokens.append(batch.num_tokens)
            yield self._step_done(step, loss, rate, norm, time.perf_counter() - started)
            asked = commands()
            stop = next((command for command in asked if isinstance(command, Stop)), None)
            wanted = step % settings.evaluate_every == 0 or step == settings.max_steps
            wanted |= any(isinstance(command, EvaluateNow) for command in asked)
            self.stopped_early = stop is not None and step < settings.max_steps
            if wanted if stop is None else stop.save:
                yield from self._evaluate(step, tuned=True)
            if stop is not None:
                self.is_discarded = not stop.save
                return

    def _step_done(
        self, step: int, loss: float, rate: float, norm: float, elapsed: float
    ) -> StepDone:
        seconds = self._seconds[-_SPEED_WINDOW:]
        mean_seconds = elapsed / step
        return StepDone(
            step=step,
            max_steps=self.settings.max_steps,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens_per_second=sum(self._tokens[-_SPEED_WINDOW:]) / sum(seconds),
            peak_memory_bytes=peak_memory_bytes(),
            elapsed_seconds=elapsed,
            eta_seconds=mean_seconds * (self.settings.max_steps - step),
        )

    def _evaluate(self, step: int, *, tuned: bool) -> Iterator[Event]:
        yield StageStarted("evaluate", time.time(), "the base" if not tuned else f"step {step}")
        sample = self._validation_sample()
        rows = [self.rows.validation_rows[number] for number in sample]
        encoded = [self.rows.validation[number] for number in sample]
        prompt = self.method().detached() if tuned else None
        scores = self.evaluator.score(prompt, rows, encoded, self.report_progress)
        is_best = tuned and scores.accuracy >= self.best_accuracy
        yield evaluation_event(step, scores, tuned=tuned, is_best=is_best)
        for row, answer in list(zip(rows, scores.answers, strict=True))[:_NUM_SAMPLES]:
            yield SampleMade(step, row.prompt, row.response, answer)
        if is_best and prompt is not None:
            self.best_accuracy, self.best_step = scores.accuracy, step
            self.best = prompt
            path = self.save(prompt, step, scores.accuracy)
            yield CheckpointSaved(step, path, scores.accuracy, is_best=True)
        yield StageFinished("evaluate", scores.seconds)

    def _validation_sample(self) -> list[int]:
        """The rows of each validation, by number: always the same ones, spread over the set."""
        num_rows = len(self.rows.validation)
        limit = min(self.settings.max_validation_rows, num_rows)
        return sorted(random.Random(self.settings.seed).sample(range(num_rows), limit))

    def _evaluate_all(self) -> Iterator[Event]:
        """Score base and best prompt on every validation row, where validations used only some."""
        if self.best is None:
            return
        for prompt, who in ((None, "the base"), (self.best, "the best prompt")):
            yield StageStarted("evaluate", time.time(), f"{who} on all validation rows")
            scores = self.evaluator.score(
                prompt, self.rows.validation_rows, self.rows.validation, self.report_progress
            )
            step = 0 if prompt is None else self.best_step
            is_tuned = prompt is not None
            yield evaluation_event(step, scores, tuned=is_tuned, is_best=is_tuned)
            yield StageFinished("evaluate", scores.seconds)
        self.best_accuracy = scores.accuracy
        self.save(self.best, self.best_step, scores.accuracy)


def schedule(step: int, warmup_steps: int, max_steps: int) -> float:
    """Share of the peak rate: linear warm-up, then a cosine towards 0.

    Args:
        step (int): Counted from 1.
        warmup_steps (int): Steps of warm-up; shorter runs warm up for at most a tenth.
        max_steps (int): All steps.
    """
    warmup = min(warmup_steps, max_steps // 10)
    if step <= warmup:
        return step / (warmup + 1)
    progress = (step - warmup - 1) / max(1, max_steps - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def evaluation_event(step: int, scores: Scores, *, tuned: bool, is_best: bool) -> EvaluationDone:
    """The event of an evaluation."""
    return EvaluationDone(
        step=step,
        num_rows=len(scores.answers),
        accuracy=scores.accuracy,
        macro_f1=scores.macro_f1,
        loss=scores.loss,
        seconds=scores.seconds,
        tuned=tuned,
        is_best=is_best,
    )


def peak_memory_bytes() -> int:
    """Peak resident memory of this process; the present one where the system keeps no peak."""
    memory = psutil.Process().memory_info()
    peak: int = getattr(memory, "peak_wset", 0)
    if peak:
        return peak
    try:
        import resource
    except ImportError:
        return int(memory.rss)
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if psutil.MACOS else usage * 1024


def _divergence(step: int, rate: float) -> UsageError:
    return UsageError(
        f"The loss is not finite any more at step {step} (learning rate {rate:.3g}).",
        "Lower `--learning-rate`; the best prompt so far is kept in the run folder.",
    )
