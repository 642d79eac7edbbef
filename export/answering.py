"""Answers with one prompt of an open bundle: text, labels, scores.

Legend: P virtual tokens, L layers, D head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from export.constraint import Constraint
from export.encoding import Request, RowEncoder, answer_limit
from export.errors import BundleError, RowError
from export.generation import GREEDY, Generation, Limits
from export.held_prefix import HeldPrefix
from export.labels import LabelSearch, LabelTrie, exhaustive_scores
from export.manifest import PromptRecord
from export.preface import NO_PREFACE, Preface
from export.prompts import AnyPrompt
from export.row_scoring import RowLabel, label_pack, row_label, text_packs
from export.sampling import Sampling, log_softmax

if TYPE_CHECKING:
    from export.runtime import Bundle

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LabelAnswer:
    """A row's label.

    Attributes:
        label: The most likely one.
        log_probability: Of its tokens and the end token.
        was_cut: Whether the text was cut from the left to fit.
        all_scores: The same of every label, in their order, where all were asked for.
    """

    label: str
    log_probability: float
    was_cut: bool = False
    all_scores: tuple[float, ...] = ()


@dataclass
class Answerer:
    """Answers with one prompt, or with none. `Bundle.tuned` and `Bundle.base` make one.

    Attributes:
        bundle: Open.
        key: Tells it from other answerers of the bundle.
        record: How rows become text, and the labels.
        prompt: What stands in front of the rows; None for nothing.
        stored_prefix: float32 [L, 2, heads, P + lead, D] of prompt and lead; None to compute it.
        preface: What an untuned model is told before every row.
        encoder: Turns rows into tokens.
        prefix: What the cache begins with.
        was_cut: Whether the last request was cut from the left to fit.
    """

    bundle: Bundle
    key: str
    record: PromptRecord
    prompt: AnyPrompt | None
    stored_prefix: InitVar[FloatArray | None]
    preface: Preface = NO_PREFACE
    encoder: RowEncoder = field(init=False)
    prefix: HeldPrefix = field(init=False)
    was_cut: bool = field(init=False, default=False)

    def __post_init__(self, stored_prefix: FloatArray | None) -> None:
        record = self.record
        self.encoder = self.bundle.encoder(record.template, record.end_token_id, self.preface)
        self.prefix = HeldPrefix(self.bundle, self.key, self.prompt, record.lead_ids, stored_prefix)

    @property
    def num_virtual_tokens(self) -> int:
        """P, or 0 without a prompt."""
        return self.prefix.num_virtual_tokens

    @cached_property
    def label_trie(self) -> LabelTrie:
        """The labels in tokens.

        Raises:
            BundleError: The prompt answers in free text, or two labels cannot be told apart.
        """
        if self.record.labels is None:
            raise BundleError(
                "This prompt answers in free text; it has no labels.", "Use `generate`."
            )
        try:
            return LabelTrie([self.encoder.encode_response(label) for label in self.record.labels])
        except ValueError as error:
            raise BundleError(
                f"{self.bundle.folder} cannot be asked: {error}.", "Export the run again."
            ) from None

    def generate(
        self,
        text: Request,
        max_new_tokens: int = 256,
        sampling: Sampling = GREEDY,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Generation:
        """An answer to stream: iterate over its pieces of text.

        Args:
            text (Request): The request.
            max_new_tokens (int): At most so many tokens, and as the context has room for.
            sampling (Sampling): How tokens are chosen; the most likely one by default.
            stop (Sequence[str]): Strings that end the answer.
            constraint (Constraint | None): What it has to look like, from `export.constraint`.
            is_cancelled (Callable): Asked before each token; true ends the answer.
        """
        ids = self._encode(text)
        return self.generate_behind(ids, max_new_tokens, sampling, stop, constraint, is_cancelled)

    def generate_behind(
        self,
        ids: list[int],
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Generation:
        """An answer to tokens that are a whole request already, such as a conversation.

        Args:
            ids (list[int]): The request as the model reads it, without the virtual tokens.
            max_new_tokens (int): At most so many tokens, and as the context has room for.
            sampling (Sampling): How tokens are chosen.
            stop (Sequence[str]): Strings that end the answer.
            constraint (Constraint | None): What it has to look like.
            is_cancelled (Callable): Asked before each token; true ends the answer.
        """
        logits, position = self.prefix.read(ids)
        room = self.bundle.manifest.shape.context_length - position
        return Generation(
            self.prefix.decoder(position),
            self.encoder.tokenizer,
            ids,
            logits,
            Limits(self.record.end_token_id, max(0, min(max_new_tokens, room)), stop, is_cancelled),
            sampling,
            self.encoder.renderer.response_prefix,
            constraint,
        )

    def classify(self, text: Request, with_all_scores: bool = False) -> LabelAnswer:
        """The most likely label, exactly.

        Args:
            text (str): The request.
            with_all_scores (bool): Whether to score every label, the hopeless ones too.
        """
        return self.classify_behind(self._encode(text), with_all_scores)

    def classify_behind(self, ids: list[int], with_all_scores: bool = False) -> LabelAnswer:
        """The most likely label behind tokens that are a whole request already."""
        logits, position = self.prefix.read(ids)
        search = LabelSearch(self.label_trie, log_softmax(logits), with_all_scores)
        while (path := search.next_path()) is not None:
            search.feed(log_softmax(self.bundle.session.forward(path, position)[0]))
        return self._label_answer(row_label(search, with_all_scores), self.was_cut)

    def classify_rows(
        self,
        texts: Sequence[Request],
        on_progress: Callable[[int], None] | None = None,
        with_all_scores: bool = False,
    ) -> list[LabelAnswer]:
        """The most likely label of each text; texts of similar length share a sequence.

        It is `classify`, text by text, where the graph takes one sequence at a time, a text was cut
        so far that it does not begin like the template, or it fills the context.

        Args:
            texts (Sequence[Request]): The requests.
            on_progress (Callable[[int], None] | None): Called with the number of answers so far.
            with_all_scores (bool): Whether to score every label.
        """
        limit = self.record.max_prompt_tokens
        encoded = [self.encoder.encode_prompt(text, limit) for text in texts]
        answers: dict[int, LabelAnswer] = {}
        texts_ids = [ids for ids, _ in encoded]
        session, lead = self.bundle.session, self.record.lead_ids
        for numbers, rows in text_packs(session, texts_ids, lead, self.prefix.length):
            try:
                found = self._label_pack(rows, with_all_scores)
            except RowError:
                # Labels of many beginnings in a short context; alone, each text has room.
                continue
            for number, row in zip(numbers, found, strict=True):
                answers[number] = self._label_answer(row, encoded[number][1])
            if on_progress:
                on_progress(len(answers))
        for number in sorted(set(range(len(texts))) - set(answers)):
            answers[number] = self.classify(texts[number], with_all_scores)
            if on_progress:
                on_progress(len(answers))
        return [answers[number] for number in range(len(texts))]

    def _label_answer(self, row: RowLabel, was_cut: bool) -> LabelAnswer:
        assert self.record.labels is not None
        label = self.record.labels[row.label]
        return LabelAnswer(label, row.log_probability, was_cut, row.all_scores)

    def _label_pack(self, rows: list[list[int]], with_all_scores: bool) -> list[RowLabel]:
        self.bundle.begin_request()
        self.prefix.hold()
        session, length = self.bundle.session, self.prefix.length
        return label_pack(session, self.label_trie, rows, length, with_all_scores)

    def label_scores(self, text: str) -> dict[str, float]:
        """The log-probability of every label with its end token."""
        logits, position = self.read(text)

        def behind(path: tuple[int, ...]) -> npt.NDArray[np.float64]:
            if not path:
                return log_softmax(logits)
            return log_softmax(self.bundle.session.forward(path, position)[0])

        scores = exhaustive_scores(self.label_trie, behind)
        assert self.record.labels is not None
        return dict(zip(self.record.labels, scores, strict=True))

    def answer(self, text: Request) -> str:
        """The label where the responses are a closed set, else the generated text."""
        if self.record.labels is not None:
            return self.classify(text).label
        limit = answer_limit(self.record.max_response_tokens)
        return "".join(self.generate(text, limit))

    def read(self, text: str) -> tuple[FloatArray, int]:
        """Put a request behind the prefix; logits [V] behind it, and the next position."""
        return self.prefix.read(self._encode(text))

    def _encode(self, text: Request) -> list[int]:
        ids, self.was_cut = self.encoder.encode_prompt(text, self.record.max_prompt_tokens)
        return ids
