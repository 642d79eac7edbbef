"""The contenders of an evaluation that onnxruntime computes, from one open bundle."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ptune_tui.cli.evaluation_request import EvaluationRequest
from ptune_tui.cli.talk import ProgressLine
from ptune_tui.errors import DataError
from ptune_tui.evaluation.contenders import ContenderAnswers, scores_all_labels
from ptune_tui.evaluation.examples import default_num_examples, overlap_notes
from ptune_tui.evaluation.keys import ContenderKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from export.answering import Answerer
    from export.runtime import Bundle
    from ptune_tui.evaluation.told import Told
    from ptune_tui.rows import Row


@dataclass
class BundleContenders:
    """Asks a bundle with its prompt, and with what stands beside it.

    Attributes:
        bundle: Open.
        request: What is asked for.
        rows: What is asked.
        origin: Where the bundle is from, for a reader; None: its folder's name.
    """

    bundle: Bundle
    request: EvaluationRequest
    rows: Sequence[Row]
    origin: str | None = None

    def ask(self, key: ContenderKey) -> ContenderAnswers:
        """Have one contender answer every row.

        Args:
            key (ContenderKey): `bundle` is the tuned prompt.
        """
        if key == "bundle":
            tuned = self.bundle.tuned(self.request.prompt)
            title = f"bundle ({self.bundle.precision})"
            origin = self.origin or self.bundle.folder.resolve().name
            detail = f"{origin}, {tuned.num_virtual_tokens} virtual tokens"
            return self._asked(key, title, detail, tuned, None)
        told = self._told(key)
        answerer = self.bundle.told(
            self.request.prompt,
            told.template,
            told.preface,
            told.end_token_id,
            told.max_prompt_tokens,
        )
        return self._asked(key, told.title, told.detail, answerer, told)

    def _asked(
        self, key: ContenderKey, title: str, detail: str, answerer: Answerer, told: Told | None
    ) -> ContenderAnswers:
        line = ProgressLine()

        def say(num_done: int) -> None:
            if not self.request.is_quiet:
                line.show(f"{title}, onnxruntime:", num_done, len(self.rows))

        started = time.perf_counter()
        is_chat = answerer.encoder.renderer.is_chat
        requests = [row.request(is_chat=is_chat) for row in self.rows]
        probabilities: list[float] | None = None
        num_cut = 0
        if answerer.record.labels is None:
            answers = []
            for number, asked in enumerate(requests, start=1):
                answers.append(answerer.answer(asked))
                num_cut += answerer.was_cut
                say(number)
            answers = answers if told is None else told.answers(answers)
        else:
            with_all = scores_all_labels(answerer.record.labels, self.request.with_probabilities)
            found = answerer.classify_rows(requests, say, with_all)
            answers = [answer.label for answer in found]
            num_cut = sum(answer.was_cut for answer in found)
            if with_all:
                probabilities = [_probability(answer.all_scores) for answer in found]
        line.close()
        return ContenderAnswers(
            key,
            title,
            f"onnxruntime, {self.bundle.precision}",
            answers,
            probabilities,
            time.perf_counter() - started,
            num_cut,
            detail,
        )

    def overlaps(self) -> list[str]:
        """What to say of scored rows that were trained on, or that it cannot be told."""
        if self.request.train is None:
            return [
                "Whether scored rows were trained on is not known: a bundle does not keep its "
                "training rows. Name them with `--train`."
            ]
        return overlap_notes(self.rows, self._train_rows, "`--train`")

    @cached_property
    def _train_rows(self) -> list[Row]:
        from ptune_tui.data import training_path
        from ptune_tui.rows import read_rows

        assert self.request.train is not None
        record = self.bundle.record(self.request.prompt)
        columns = self.request.columns.data_config(record.template.column_template)
        return read_rows(training_path(self.request.train), columns)

    def _told(self, key: ContenderKey) -> Told:
        from ptune_tui.evaluation.told import UntunedTask

        record = self.bundle.record(self.request.prompt)
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
            return task.instructed(self.request.instruction)
        if self.request.train is None:
            raise DataError(
                "A bundle does not know the rows it was trained on, so there are no examples.",
                "Name them: `--train FILE`, or leave `few-shot` out of `--baselines`.",
            )
        num_examples = self.request.num_examples or default_num_examples(record.labels)
        return task.few_shot(self._train_rows, num_examples, self.request.seed)


def _probability(scores: Sequence[float]) -> float:
    from export.labels import label_probabilities

    return float(label_probabilities(scores).max())
