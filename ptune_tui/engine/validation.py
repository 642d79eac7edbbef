"""Validations of a run: which prompt is the best, and for how long none was better."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from export.encoding import EncodedRow
from ptune_tui.config import TrainingConfig
from ptune_tui.engine.evaluate import Evaluator, Scores
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.run_state import BestScore, Progress
from ptune_tui.events import (
    CheckpointSaved,
    EvaluationDone,
    Event,
    SampleMade,
    StageFinished,
    StageStarted,
)
from ptune_tui.rows import Row

_NUM_SAMPLES = 5


@dataclass(frozen=True)
class TaskRows:
    """The rows of a run, in words and in tokens."""

    train: Sequence[EncodedRow]
    validation_rows: Sequence[Row]
    validation: Sequence[EncodedRow]


@dataclass
class Validation:
    """Scores prompts on the validation rows and keeps the best.

    Attributes:
        evaluator: The model, the template and the labels.
        rows: The rows of the run.
        settings: How many rows a validation takes, and the seed of their choice.
        save: Writes the best prompt, given where the run is and how many rows its score is of;
            returns the path.
        report_progress: Called with rows scored and their number.
        best: The best prompt so far.
    """

    evaluator: Evaluator
    rows: TaskRows
    settings: TrainingConfig
    save: Callable[[Prompt, Progress, int], str]
    report_progress: Callable[[int, int], None]
    best: Prompt | None = None

    @property
    def uses_all_rows(self) -> bool:
        """Whether each validation takes all rows."""
        return self.settings.max_validation_rows >= len(self.rows.validation)

    def base(self, progress: Progress) -> Iterator[Event]:
        """Score the base, without a prompt."""
        yield StageStarted("evaluate", time.time(), "the base")
        rows, encoded = self._sample()
        scores = self.evaluator.score(None, rows, encoded, self.report_progress)
        progress.base_accuracy = scores.accuracy
        yield evaluation_event(0, scores, tuned=False, is_best=False)
        yield from _samples(0, rows, scores)
        yield StageFinished("evaluate", scores.seconds)

    def tuned(self, prompt: Prompt, progress: Progress, *, counts: bool) -> Iterator[Event]:
        """Score the prompt of a step, and keep it where none was better.

        Args:
            prompt (Prompt): Detached from the method.
            progress (Progress): Of the run; learns about the best.
            counts (bool): Whether a validation without a better score counts for early stopping.
        """
        step = progress.step
        yield StageStarted("evaluate", time.time(), f"step {step}")
        rows, encoded = self._sample()
        scores = self.evaluator.score(prompt, rows, encoded, self.report_progress)
        found = BestScore(step, scores.accuracy, scores.macro_f1, scores.loss)
        before = progress.best
        # Of equal scores the later prompt is kept, but only a better one puts early stopping off.
        is_best = before is None or found.key >= before.key
        if before is None or found.key > before.key:
            progress.num_without_better = 0
        elif counts:
            progress.num_without_better += 1
        yield evaluation_event(step, scores, tuned=True, is_best=is_best)
        yield from _samples(step, rows, scores)
        if is_best:
            progress.best, self.best = found, prompt
            path = self.save(prompt, progress, len(rows))
            yield CheckpointSaved(step, path, scores.accuracy, is_best=True)
        yield StageFinished("evaluate", scores.seconds)

    def on_all_rows(self, progress: Progress) -> Iterator[Event]:
        """Score base and best prompt on every validation row."""
        if self.best is None or progress.best is None:
            return
        step = progress.best.step
        for prompt, who in ((None, "the base"), (self.best, "the best prompt")):
            yield StageStarted("evaluate", time.time(), f"{who} on all validation rows")
            scores = self.evaluator.score(
                prompt, self.rows.validation_rows, self.rows.validation, self.report_progress
            )
            if prompt is None:
                progress.base_accuracy = scores.accuracy
                yield evaluation_event(0, scores, tuned=False, is_best=False)
            else:
                yield evaluation_event(step, scores, tuned=True, is_best=True)
            yield StageFinished("evaluate", scores.seconds)
        progress.best = msgspec.structs.replace(
            progress.best, accuracy=scores.accuracy, macro_f1=scores.macro_f1
        )
        self.save(self.best, progress, len(self.rows.validation_rows))

    def put_back(self, prompt: Prompt, progress: Progress) -> None:
        """Take the best prompt of a checkpoint; the adapter may be of a validation after it.

        Args:
            prompt (Prompt): The best one then.
            progress (Progress): Of the run.
        """
        self.best = prompt
        self.save(prompt, progress, len(self._sample()[0]))

    def _sample(self) -> tuple[list[Row], list[EncodedRow]]:
        return validation_rows(self.rows, self.settings)


def validation_rows(rows: TaskRows, settings: TrainingConfig) -> tuple[list[Row], list[EncodedRow]]:
    """The rows of each validation: always the same ones, spread over the set.

    Args:
        rows (TaskRows): Of the run.
        settings (TrainingConfig): How many, and the seed of their choice.
    """
    num_rows = len(rows.validation)
    limit = min(settings.max_validation_rows, num_rows)
    numbers = sorted(random.Random(settings.seed).sample(range(num_rows), limit))
    words = [rows.validation_rows[number] for number in numbers]
    return words, [rows.validation[number] for number in numbers]


def _samples(step: int, rows: Sequence[Row], scores: Scores) -> Iterator[Event]:
    for number in sample_numbers([row.response for row in rows]):
        row = rows[number]
        yield SampleMade(step, row.prompt, row.response, scores.answers[number])


def sample_numbers(responses: Sequence[str]) -> list[int]:
    """Which rows are shown: spread over the set, and of different responses as far as there are.

    Args:
        responses (Sequence[str]): Of all rows.
    """
    step = max(1, len(responses) // _NUM_SAMPLES)
    spread = sorted(range(len(responses)), key=lambda number: (number % step, number))
    first_of = {responses[number]: number for number in reversed(spread)}
    others = [number for number in spread if first_of[responses[number]] != number]
    firsts = [number for number in spread if first_of[responses[number]] == number]
    return sorted([*firsts, *others][:_NUM_SAMPLES])


def evaluation_event(
    step: int, scores: Scores, *, tuned: bool, is_best: bool, contender: str = ""
) -> EvaluationDone:
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
        contender=contender,
    )
