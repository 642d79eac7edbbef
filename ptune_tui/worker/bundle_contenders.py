"""The contenders of an evaluation that onnxruntime computes, from one open bundle."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ptune_tui.errors import DataError
from ptune_tui.evaluation.columns import RECOGNISED, Columns
from ptune_tui.evaluation.contenders import ContenderAnswers, scores_all_labels
from ptune_tui.evaluation.examples import default_num_examples, overlap_notes
from ptune_tui.evaluation.keys import ContenderKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from export.answering import Answerer
    from export.runtime import Bundle
    from ptune_tui.evaluation.told import Told
    from ptune_tui.rows import Row


@dataclass(frozen=True)
class Given:
    """What the contenders of a bundle are given.

    Attributes:
        prompt: Which of its prompts; None where it has just one.
        instruction: None: proposed from the labels.
        num_examples: Of few-shot; None: by the number of labels.
        train: Rows for the examples.
        columns: Of those rows.
        seed: Of the examples.
        with_probabilities: Whether every label is scored; None: where they are few.
    """

    prompt: str | None = None
    instruction: str | None = None
    num_examples: int | None = None
    train: str | None = None
    columns: Columns = RECOGNISED
    seed: int = 0
    with_probabilities: bool | None = None


@dataclass(frozen=True)
class Prepared:
    """A contender, ready to be asked.

    Attributes:
        title: Of its line.
        detail: What it was given.
        answerer: What answers.
        told: What it was told in place of a prompt; None for the tuned prompt.
    """

    title: str
    detail: str
    answerer: Answerer
    told: Told | None


@dataclass
class BundleContenders:
    """Asks a bundle with its prompt, and with what stands beside it.

    Attributes:
        bundle: Open.
        given: What it is given.
        rows: What is asked.
        on_progress: Called with a line's title and the number of its answers so far.
        origin: Where the bundle is from, for a reader; None: its folder's name.
    """

    bundle: Bundle
    given: Given
    rows: Sequence[Row]
    on_progress: Callable[[str, int], None] = lambda _title, _num_done: None
    origin: str | None = None

    def ask(self, key: ContenderKey) -> ContenderAnswers:
        """Have one contender answer every row.

        Args:
            key (ContenderKey): `bundle` is the tuned prompt.
        """
        return self.answers(key, self.prepared(key))

    def answers(self, key: ContenderKey, asked: Prepared) -> ContenderAnswers:
        """What a contender that is ready answers to every row.

        Args:
            key (ContenderKey): Which one.
            asked (Prepared): The same, ready.
        """
        answerer, told = asked.answerer, asked.told

        def say(num_done: int) -> None:
            self.on_progress(asked.title, num_done)

        started = time.perf_counter()
        is_chat = answerer.encoder.renderer.is_chat
        requests = [row.request(is_chat=is_chat) for row in self.rows]
        probabilities: list[float] | None = None
        num_cut = 0
        if answerer.record.labels is None:
            answers = []
            for number, request in enumerate(requests, start=1):
                answers.append(answerer.answer(request))
                num_cut += answerer.was_cut
                say(number)
            answers = answers if told is None else told.answers(answers)
        else:
            with_all = scores_all_labels(answerer.record.labels, self.given.with_probabilities)
            found = answerer.classify_rows(requests, say, with_all)
            answers = [answer.label for answer in found]
            num_cut = sum(answer.was_cut for answer in found)
            if with_all:
                probabilities = [_probability(answer.all_scores) for answer in found]
        return ContenderAnswers(
            key,
            asked.title,
            f"onnxruntime, {self.bundle.precision}",
            answers,
            probabilities,
            time.perf_counter() - started,
            num_cut,
            asked.detail,
        )

    def prepared(self, key: ContenderKey) -> Prepared:
        """A contender that is ready to be asked.

        Args:
            key (ContenderKey): `bundle` is the tuned prompt.
        """
        if key == "bundle":
            tuned = self.bundle.tuned(self.given.prompt)
            origin = self.origin or self.bundle.folder.resolve().name
            detail = f"{origin}, {tuned.num_virtual_tokens} virtual tokens"
            return Prepared(f"bundle ({self.bundle.precision})", detail, tuned, None)
        told = self._told(key)
        answerer = self.bundle.told(
            self.given.prompt,
            told.template,
            told.preface,
            told.end_token_id,
            told.max_prompt_tokens,
        )
        return Prepared(told.title, told.detail, answerer, told)

    def overlaps(self) -> list[str]:
        """What to say of scored rows that were trained on, or that it cannot be told."""
        if self.given.train is None:
            return [
                "Whether scored rows were trained on is not known: a bundle does not keep its "
                "training rows. Name them with `--train`."
            ]
        return overlap_notes(self.rows, self._train_rows, "`--train`")

    @cached_property
    def _train_rows(self) -> list[Row]:
        from ptune_tui.data import training_path
        from ptune_tui.rows import read_rows

        assert self.given.train is not None
        record = self.bundle.record(self.given.prompt)
        columns = self.given.columns.data_config(record.template.column_template)
        return read_rows(training_path(self.given.train), columns)

    def _told(self, key: ContenderKey) -> Told:
        from ptune_tui.evaluation.told import UntunedTask

        record = self.bundle.record(self.given.prompt)
        task = UntunedTask(
            self.bundle.tokenizer,
            record.template,
            record.end_token_id,
            record.labels,
            record.max_prompt_tokens,
            record.max_response_tokens,
            self.bundle.manifest.shape.context_length,
            self.rows,
        )
        if key == "base":
            return task.base()
        if key == "instruction":
            return task.instructed(self.given.instruction)
        if self.given.train is None:
            raise DataError(
                "A bundle does not know the rows it was trained on, so there are no examples.",
                "Name them: `--train FILE`, or leave `few-shot` out of `--baselines`.",
            )
        num_examples = self.given.num_examples or default_num_examples(record.labels)
        return task.few_shot(self._train_rows, num_examples, self.given.seed)


def _probability(scores: Sequence[float]) -> float:
    from export.labels import label_probabilities

    return float(label_probabilities(scores).max())
