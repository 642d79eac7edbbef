"""What contenders without a tuned prompt are told: an instruction, examples; cut to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.encoding import RowEncoder, answer_limit
from export.preface import NO_PREFACE, Example, Preface
from export.template import CHAT, Template
from ptune_tui.data import check_labels
from ptune_tui.errors import DataError
from ptune_tui.evaluation.examples import choose_examples, unscored
from ptune_tui.evaluation.instructions import propose_instruction
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.rows import Row

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Told:
    """A contender without a tuned prompt.

    Attributes:
        key: Which one.
        title: As a reader sees it.
        detail: What it was told, for a reader.
        template: How a row becomes text.
        preface: What stands before every row.
        end_token_id: The token that ends an answer.
        max_prompt_tokens: A longer row, with its preface, is cut from the left.
        is_line: Whether an answer is what stands before the first line break.
    """

    key: ContenderKey
    title: str
    detail: str
    template: Template
    preface: Preface
    end_token_id: int
    max_prompt_tokens: int
    is_line: bool

    def answers(self, texts: Sequence[str]) -> list[str]:
        """Answers without what an untuned model goes on to say."""
        if not self.is_line:
            return list(texts)
        return [text.strip().partition("\n")[0].strip() for text in texts]


@dataclass(frozen=True)
class UntunedTask:
    """A task as a base without a prompt gets it.

    Attributes:
        tokenizer: The model's.
        template: How a row becomes text, as in training.
        end_token_id: The token that ends a response, as in training.
        labels: The closed set, or None for free text.
        max_prompt_tokens: As in training.
        max_response_tokens: Longest response in training.
        context_length: Of the model.
        rows: What will be asked.
    """

    tokenizer: Tokenizer
    template: Template
    end_token_id: int
    labels: Sequence[str] | None
    max_prompt_tokens: int
    max_response_tokens: int
    context_length: int
    rows: Sequence[Row]

    def base(self) -> Told:
        """Zero-shot: the template alone."""
        return self._told(
            "base", "base (zero-shot)", self.template, NO_PREFACE, "the template alone"
        )

    def instructed(self, instruction: str | None) -> Told:
        """With an instruction.

        Args:
            instruction (str | None): Above the row; with `{prompt}` in it, the whole template.
                None proposes one that names the labels.

        Raises:
            DataError: None was given, and there are no labels to propose one from.
        """
        if instruction is None and self.labels is None:
            raise DataError(
                "For free text no instruction can be proposed.",
                'Write one: `--instruction "..."`, or leave `instruction` out of `--baselines`.',
            )
        text = instruction or propose_instruction(self.labels or ())
        if "{prompt}" in text:
            template = Template(text, None, self.template.bos_token, self.template.eos_token)
            return self._told("instruction", "instruction", template, NO_PREFACE, text)
        source = "given" if instruction else "proposed from the labels"
        detail = f"{source}: {text}"
        return self._told("instruction", "instruction", self.template, Preface(text), detail)

    def few_shot(self, train: Sequence[Row], num_examples: int, seed: int) -> Told:
        """With examples, none of them a row that is scored; fewer where more do not fit.

        Args:
            train (Sequence[Row]): Rows to choose from.
            num_examples (int): How many.
            seed (int): Of the choice.

        Raises:
            DataError: Not even one example fits, a row has an unknown label, or all are scored.
        """
        if self.labels is not None:
            check_labels(train, self.labels)
        usable = unscored(train, self.rows)
        if not usable:
            raise DataError(
                f"Every row of {train[0].source} is among the rows that are scored, so there are "
                "no examples.",
                "Name other rows with `--train`, or leave `few-shot` out of `--baselines`.",
            )
        chosen = choose_examples(usable, self.labels, num_examples, seed)
        fitting = self._fitting(chosen)
        if not fitting:
            raise DataError(
                f"No example fits into the model's context of {self.context_length} tokens "
                "beside the longest row.",
                "Leave `few-shot` out of `--baselines`.",
            )
        asked = f" of {num_examples}: more do not fit" if len(fitting) < len(chosen) else ""
        source = Path(train[0].source).name
        places = ", ".join(f"{row.item or row.line}" for row in fitting)
        what = "items" if fitting[0].item else "lines"
        detail = f"{len(fitting)} examples{asked}; seed {seed}, {what} {places} of {source}"
        if num_left_out := len(train) - len(usable):
            detail += f"; {num_left_out} of its rows are scored and were no candidates"
        title = f"few-shot ({len(fitting)} examples)"
        return self._told("few_shot", title, self.template, _preface(fitting), detail)

    def encoder(self, told: Told) -> RowEncoder:
        """Template, preface and tokenizer of a contender."""
        return RowEncoder(self.tokenizer, told.template, told.end_token_id, told.preface)

    def _told(
        self, key: ContenderKey, title: str, template: Template, preface: Preface, detail: str
    ) -> Told:
        line_break = None if template.text == CHAT else line_break_token(self.tokenizer)
        # Examples end with the line, so this is how an answer behind them ends; free text of a base
        # that was never tuned to end would go on for ever.
        responses = [row.response for row in self.rows]
        responses += [example.response for example in preface.examples]
        is_line = (
            line_break is not None
            and (bool(preface.examples) or self.labels is None)
            and not any("\n" in response for response in responses)
        )
        told = Told(
            key,
            title,
            detail + ("; answers end with the line" if is_line else ""),
            template,
            preface,
            self.end_token_id if line_break is None or not is_line else line_break,
            self.max_prompt_tokens,
            is_line,
        )
        longest = self.max_prompt_tokens + self._num_more(told)
        room = self.context_length - answer_limit(self.max_response_tokens)
        return replace(told, max_prompt_tokens=min(longest, room))

    def _num_more(self, told: Told) -> int:
        """Tokens by which the text before a row is longer than in training."""
        bare = RowEncoder(self.tokenizer, self.template, self.end_token_id)
        return max(0, len(self.encoder(told).lead_ids()) - len(bare.lead_ids()))

    def _fitting(self, chosen: Sequence[Row]) -> Sequence[Row]:
        """The first examples that leave room for the longest row and its answer."""
        bare = RowEncoder(self.tokenizer, self.template, self.end_token_id)
        is_chat = bare.renderer.is_chat
        longest = max(
            len(bare.encode_prompt(row.request(is_chat=is_chat), self.max_prompt_tokens)[0])
            for row in self.rows
        )
        room = self.context_length - answer_limit(self.max_response_tokens) - longest
        low, high = 0, len(chosen)
        while low < high:
            middle = (low + high + 1) // 2
            encoder = RowEncoder(
                self.tokenizer, self.template, self.end_token_id, _preface(chosen[:middle])
            )
            if len(encoder.lead_ids()) <= room:
                low = middle
            else:
                high = middle - 1
        return chosen[:low]


def line_break_token(tokenizer: Tokenizer) -> int | None:
    """The token of a line break behind a word, or None where it has none of its own."""
    ids: list[int] = tokenizer.encode("a\n", add_special_tokens=False).ids
    return ids[-1] if len(ids) > 1 and tokenizer.decode(ids[-1:]) == "\n" else None


def _preface(rows: Sequence[Row]) -> Preface:
    return Preface(examples=tuple(Example(row.prompt, row.response) for row in rows))
