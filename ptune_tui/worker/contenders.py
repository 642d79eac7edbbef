"""The contenders of an evaluation that torch computes, on one loaded model."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from export.encoding import RowEncoder, answer_limit
from ptune_tui.data import builtin_names, check_labels, encode_rows, load_data, training_path
from ptune_tui.engine.evaluate import Evaluator, Scores
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.validation import evaluation_event
from ptune_tui.errors import DataError, PTuneError
from ptune_tui.evaluation.contenders import ContenderAnswers, references, scores_all_labels
from ptune_tui.evaluation.examples import default_num_examples, overlap_notes, unscored
from ptune_tui.evaluation.instructions import NO_INSTRUCTION
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.evaluation.lora_settings import RANK
from ptune_tui.evaluation.text_scores import exact_matches
from ptune_tui.evaluation.told import Told, UntunedTask
from ptune_tui.events import Event, StageFinished, StageProgress, StageStarted
from ptune_tui.reading.source import files_of, is_here, training_split
from ptune_tui.rows import Row, read_rows
from ptune_tui.runs import training_seconds
from ptune_tui.tasks import EvaluateTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.lora import LoraTraining, lora_model, train_lora
from ptune_tui.worker.tuned_model import TunedModel


@dataclass(frozen=True)
class Asked:
    """A contender, ready to be asked.

    Attributes:
        key: Which one.
        title: Of its line.
        detail: What it is given.
        frozen: The model.
        encoder: Template and tokenizer.
        prompt: What was trained, or None.
        max_prompt_tokens: A longer row is cut from the left.
        told: What it is told in place of a prompt; None for a trained one.
    """

    key: ContenderKey
    title: str
    detail: str
    frozen: FrozenModel
    encoder: RowEncoder
    prompt: Prompt | None
    max_prompt_tokens: int
    told: Told | None = None


@dataclass
class TorchContenders:
    """Asks the contenders of a task, one after the other.

    Attributes:
        tuned: The model and the trained prompt.
        rows: What is asked.
        task: Which contenders, and what they are given.
        channel: Where progress is said.
        answers: Of those that were asked.
    """

    tuned: TunedModel
    rows: Sequence[Row]
    task: EvaluateTask
    channel: Channel
    answers: list[ContenderAnswers] = field(default_factory=list)

    def ask(self, key: ContenderKey) -> Iterator[Event]:
        """Have one contender answer every row, and say how it goes.

        Args:
            key (ContenderKey): Not `bundle`, which torch does not compute.
        """
        if key == "lora":
            asked = yield from self._lora()
        else:
            asked = self.prepared(key)
        yield StageStarted("evaluate", time.time(), asked.title)
        scores, num_cut = self.scored(asked)
        yield evaluation_event(
            self.tuned.card.step,
            scores,
            tuned=key == "tuned",
            is_best=False,
            contender=asked.title,
        )
        yield StageFinished("evaluate", scores.seconds)
        self.answers.append(
            ContenderAnswers(
                key,
                asked.title,
                f"torch, {asked.frozen.kernel}",
                scores.answers,
                scores.probabilities,
                scores.seconds,
                num_cut,
                asked.detail,
            )
        )

    def prepared(self, key: ContenderKey) -> Asked:
        """A contender that is ready to be asked.

        Args:
            key (ContenderKey): One that needs no training.
        """
        return self._tuned() if key == "tuned" else self._untuned(key)

    def scored(self, asked: Asked) -> tuple[Scores, int]:
        """What a contender answers, and how many rows were cut to fit.

        Args:
            asked (Asked): Which one.
        """
        card = self.tuned.card
        encoded = encode_rows(self.rows, asked.encoder, asked.max_prompt_tokens)
        limit = answer_limit(card.max_response_tokens)
        evaluator = Evaluator(asked.frozen, asked.encoder, card.labels, limit)
        with_all = scores_all_labels(card.labels, self.task.with_probabilities)
        scores = evaluator.score(asked.prompt, self.rows, encoded, self._say_rows, with_all)
        if card.labels is None:
            told = asked.told
            answers = scores.answers if told is None else told.answers(scores.answers)
            right = exact_matches(answers, references(self.rows))
            scores = replace(scores, answers=answers, accuracy=float(right.mean()))
        return scores, sum(row.was_cut for row in encoded)

    def missing(self, key: ContenderKey) -> str | None:
        """Why a contender that was not named cannot be had; None where it can."""
        if self.task.is_named:
            return None
        if key == "instruction" and self.tuned.card.labels is None and not self.task.instruction:
            return NO_INSTRUCTION
        source = self.task.train or self.tuned.config.data.train
        if key == "few_shot" and source not in builtin_names():
            try:
                files_of(training_split(source))
            except PTuneError as error:
                return f"No few-shot line; name rows with `--train`. {error.message}"
        if key == "few_shot" and not unscored(self._train_rows, self.rows):
            return "No few-shot line: all its rows are scored; name others with `--train`."
        return None

    def overlaps(self) -> list[str]:
        """What to say of scored rows that were trained on, or why that cannot be told."""
        config = self.tuned.config
        notes = []
        if config.data.train in builtin_names() or is_here(config.data.train):
            notes += overlap_notes(self.rows, self._trained_rows, "the run")
        else:
            notes.append(
                f"Whether scored rows were trained on is not known: {config.data.train} is not "
                "there any more."
            )
        if self.task.train is not None and "lora" in self.task.contenders:
            notes += overlap_notes(self.rows, self._train_rows, "LoRA")
        return notes

    def _tuned(self) -> Asked:
        card, prompt = self.tuned.card, self.tuned.prompt
        method = self.tuned.config.method.name
        return Asked(
            "tuned",
            "tuned prompt",
            f"{prompt.num_virtual_tokens} virtual tokens of the method {method}, step {card.step}",
            self.tuned.frozen,
            self.tuned.encoder(),
            prompt,
            card.max_prompt_tokens,
        )

    def _untuned(self, key: ContenderKey) -> Asked:
        card, frozen = self.tuned.card, self.tuned.frozen
        task = UntunedTask(
            frozen.text.tokenizer,
            card.template,
            card.end_token_id,
            card.labels,
            card.max_prompt_tokens,
            card.max_response_tokens,
            frozen.context_length,
            self.rows,
        )
        if key == "base":
            told = task.base()
        elif key == "instruction":
            told = task.instructed(self.task.instruction)
        else:
            num_examples = self.task.num_examples or default_num_examples(card.labels)
            told = task.few_shot(self._train_rows, num_examples, self.task.seed)
        text = replace(frozen.text, end_token_id=told.end_token_id)
        return Asked(
            key,
            told.title,
            told.detail,
            replace(frozen, text=text),
            task.encoder(told),
            None,
            told.max_prompt_tokens,
            told,
        )

    def _lora(self) -> Generator[Event, None, Asked]:
        """Train LoRA for as long as the run trained."""
        seconds = self.task.lora_seconds or training_seconds(Path(self.task.run))
        if seconds is None:
            raise DataError(
                f"{self.task.run} does not say how long it trained: it has no step in its events.",
                "Leave `lora` out of `--baselines`, or give `--lora-seconds`.",
            )
        card, config = self.tuned.card, self.tuned.config.training
        yield StageStarted("prepare", time.time(), f"a copy in float32 with LoRA, rank {RANK}")
        before = time.perf_counter()
        rows = encode_rows(self._train_rows, self.tuned.encoder(), card.max_prompt_tokens)
        adapted = lora_model(self.tuned.frozen, self.task.seed)
        yield StageFinished("prepare", time.perf_counter() - before)
        yield StageStarted("train", time.time(), f"LoRA, rank {RANK}, for {seconds:.0f} s")
        whole = math.ceil(seconds)

        def say(done: float, num_steps: int) -> None:
            detail = f"LoRA, step {num_steps + 1}, seconds"
            self.channel.progress(StageProgress("train", min(int(done), whole), whole, detail))

        time_given = "same time" if self.task.lora_seconds is None else f"{seconds:.0f} s"
        training = LoraTraining(seconds, config.batch_size, self.task.seed)
        trained = train_lora(adapted.network, rows, training, say)
        yield StageFinished("train", trained.seconds)
        return Asked(
            "lora",
            f"LoRA r={RANK} ({time_given})",
            f"{len(trained.losses)} steps of {config.batch_size} rows in {trained.seconds:.0f} s, "
            f"float32, every projection, seed {self.task.seed}",
            adapted,
            self.tuned.encoder(),
            None,
            card.max_prompt_tokens,
        )

    @cached_property
    def _trained_rows(self) -> list[Row]:
        """The rows that the run was trained on."""
        config = self.tuned.config
        return load_data(config.data, config.training.seed).train

    @cached_property
    def _train_rows(self) -> list[Row]:
        """The rows that examples and LoRA are made of."""
        if self.task.train is None:
            return self._trained_rows
        rows = read_rows(training_path(self.task.train), self.tuned.config.data)
        if self.tuned.card.labels is not None:
            check_labels(rows, self.tuned.card.labels)
        return rows

    def _say_rows(self, done: int, total: int) -> None:
        self.channel.progress(StageProgress("evaluate", done, total, "rows"))
