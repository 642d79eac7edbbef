"""Scores of a prompt on rows: labels by likelihood, free text by exact match of the greedy answer.

Legend: n tokens of the prefix.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional

from export.encoding import EncodedRow, RowEncoder, common_prefix
from export.labels import LabelTrie
from ptune_tui.engine.batches import collate, sorted_batches
from ptune_tui.engine.generate import generate_greedily
from ptune_tui.engine.labelling import classify
from ptune_tui.engine.memory import return_freed_memory
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import Prefix
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.step import label_logits, prefix_of
from ptune_tui.errors import DataError
from ptune_tui.metrics import accuracy, macro_f1
from ptune_tui.rows import Row
from quant.linear import exact_products

Progress = Callable[[int, int], None]
_MAX_BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Scores:
    """What an evaluation found.

    Attributes:
        answers: One a row, in the rows' order.
        accuracy: Of labels, or exact match.
        macro_f1: None for free text.
        loss: Mean cross-entropy of the response tokens; None for labels.
        seconds: How long it took.
        label_probabilities: Of all labels for each row, where those were asked for.
    """

    answers: list[str]
    accuracy: float
    macro_f1: float | None
    loss: float | None
    seconds: float
    label_probabilities: list[tuple[float, ...]] | None = None

    @property
    def probabilities(self) -> list[float] | None:
        """Of the answered labels among all labels, where those were asked for."""
        if self.label_probabilities is None:
            return None
        return [max(row) for row in self.label_probabilities]


@dataclass(frozen=True)
class Evaluator:
    """Scores rows of one task.

    Attributes:
        frozen: The model.
        encoder: Template and tokenizer.
        labels: The closed set of responses, or None for free text.
        max_response_tokens: Free-text answers end after so many tokens.
    """

    frozen: FrozenModel
    encoder: RowEncoder
    labels: Sequence[str] | None
    max_response_tokens: int

    @cached_property
    def trie(self) -> LabelTrie:
        """The labels in tokens."""
        labels = self.labels or ()
        try:
            return LabelTrie([self.encoder.encode_response(label) for label in labels])
        except ValueError as error:
            raise DataError(
                f"Two labels cannot be told apart: {error}.", "Rename one of them."
            ) from None

    @torch.no_grad()
    def score(
        self,
        prompt: Prompt | None,
        rows: Sequence[Row],
        encoded: Sequence[EncodedRow],
        on_progress: Progress | None = None,
        with_probabilities: bool = False,
    ) -> Scores:
        """Score rows with a prompt, or with none.

        Args:
            prompt (Prompt | None): What was trained; None scores the base.
            rows (Sequence[Row]): The rows.
            encoded (Sequence[EncodedRow]): The same in tokens.
            on_progress (Progress | None): Called with rows done and their number.
            with_probabilities (bool): Whether every label is scored, for calibration.
        """
        started = time.perf_counter()
        lead = shared_lead(encoded, self.encoder.lead_ids())
        with exact_products(self.frozen.network):
            prefix = prefix_of(self.frozen, prompt, lead)
            texts = [row.prompt_ids[len(lead) :] for row in encoded]
            loss = None
            probabilities: list[tuple[float, ...]] = []
            if self.labels is None:
                answers = self.generated(prefix, texts, on_progress)
                loss = self.loss(prefix, encoded, len(lead))
            else:
                found = classify(
                    self.frozen, prefix, texts, self.trie, on_progress, with_probabilities
                )
                answers = [self.labels[row.label] for row in found]
                probabilities = [row.probabilities for row in found if row.probabilities]
        # Batches of many shapes leave holes behind that a run's steps do not fit into.
        return_freed_memory()
        expected = [row.response for row in rows]
        return Scores(
            answers,
            accuracy(expected, answers),
            None if self.labels is None else macro_f1(expected, answers),
            loss,
            time.perf_counter() - started,
            probabilities or None,
        )

    def generated(
        self,
        prefix: Prefix,
        texts: Sequence[list[int]],
        on_progress: Progress | None = None,
    ) -> list[str]:
        """Greedy answers to texts in tokens, behind a prefix."""
        limit = self.max_response_tokens
        ids = generate_greedily(self.frozen, prefix, texts, limit, on_progress)
        return [self._text(answer) for answer in ids]

    def _text(self, ids: list[int]) -> str:
        text: str = self.encoder.tokenizer.decode(ids)
        return text.removeprefix(self.encoder.renderer.response_prefix)

    def loss(self, prefix: Prefix, encoded: Sequence[EncodedRow], num_lead: int) -> float:
        """Mean cross-entropy of the response tokens behind a prefix."""
        total, count = 0.0, 0
        lengths = [row.num_tokens for row in encoded]
        for numbers in sorted_batches(lengths, _MAX_BATCH_TOKENS, prefix.length):
            batch = collate([encoded[number] for number in numbers], num_lead)
            logits = label_logits(self.frozen.network, prefix, batch).float()
            total += float(functional.cross_entropy(logits.cpu(), batch.labels, reduction="sum"))
            count += len(batch.labels)
        return total / count


def shared_lead(encoded: Sequence[EncodedRow], template_lead: Sequence[int]) -> list[int]:
    """Template tokens that all of some rows begin with; every row keeps one token behind them."""
    shortest = min(len(row.prompt_ids) for row in encoded)
    return common_prefix([template_lead, *(row.prompt_ids for row in encoded)])[: shortest - 1]
