"""Rows as tokens, with the label mask: torch-free, the same for training, scoring and answering.

A row is `[before the response] [response] [end token]`; the loss is on the last two. Virtual tokens
come in front of all of it and are not part of a row here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from export.errors import RowError
from export.preface import NO_PREFACE, Preface
from export.template import Messages, RenderedPrompt, Renderer, Template

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

# Texts that begin in as many ways as tokenisers care about: what all of them leave untouched at the
# start of a row is the lead that every row shares.
_LEAD_PROBES = (
    "a",
    "Z",
    "7",
    " x",
    "\n",
    "\n\n",
    "\t",
    "é",
    "!",
    "'",
    "(",
    "<",
    "你",
    "🙂",
    "\x02",
)


Request = str | Messages  # what is asked: a text, or a conversation for a chat template


@dataclass(frozen=True)
class EncodedRow:
    """One row in tokens.

    Attributes:
        prompt_ids: Tokens before the response.
        response_ids: Tokens of the response and the end token: the ones in the loss.
        was_cut: Whether the prompt was cut from the left to fit.
    """

    prompt_ids: list[int]
    response_ids: list[int]
    was_cut: bool = False

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole row."""
        return len(self.prompt_ids) + len(self.response_ids)


class RowEncoder:
    """Turns prompts and responses into tokens.

    Args:
        tokenizer (Tokenizer): The model's tokenizer.
        template (Template): How a row becomes text.
        end_token_id (int): The token that ends a response.
        preface (Preface): What stands before every row.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: Template,
        end_token_id: int,
        preface: Preface = NO_PREFACE,
    ) -> None:
        self.tokenizer = tokenizer
        self.renderer = Renderer(template, preface)
        self.end_token_id = end_token_id

    def encode_prompt(
        self, prompt: Request, max_tokens: int | None = None
    ) -> tuple[list[int], bool]:
        """Tokens before the response, and whether the prompt was cut from the left.

        Args:
            prompt (Request): The row's input. Of a conversation that is too long the oldest turns
                go first, the system's message never, and only then the last message is cut.
            max_tokens (int | None): At most so many tokens; None for no limit.

        Raises:
            RowError: The template alone needs more than `max_tokens`.
            TemplateError: The template does not take the conversation.
        """
        if isinstance(prompt, str):
            return self._encode_rendered(self.renderer.render(prompt), max_tokens)
        was_cut = False
        while True:
            rendered = self.renderer.render_messages(prompt)
            shorter = _without_oldest(prompt)
            if max_tokens is None or shorter is None:
                ids, was_cut_inside = self._encode_rendered(rendered, max_tokens)
                return ids, was_cut or was_cut_inside
            ids, _ = self._encode_rendered(rendered, None)
            if len(ids) <= max_tokens:
                return ids, was_cut
            prompt, was_cut = shorter, True

    def _encode_rendered(
        self, rendered: RenderedPrompt, max_tokens: int | None
    ) -> tuple[list[int], bool]:
        encoding = self.tokenizer.encode(
            rendered.text, add_special_tokens=not self.renderer.is_chat
        )
        if max_tokens is None or len(encoding.ids) <= max_tokens:
            return encoding.ids, False
        return _cut_left(encoding, rendered, max_tokens), True

    def encode_response(self, response: str) -> list[int]:
        """Tokens of a response and the end token."""
        text = self.renderer.response(response)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [*ids, self.end_token_id]

    def encode_row(self, prompt: Request, response: str, max_prompt_tokens: int) -> EncodedRow:
        """A whole row; the prompt's cut does not depend on the response.

        Raises:
            RowError: The template alone needs more than `max_prompt_tokens`.
        """
        prompt_ids, was_cut = self.encode_prompt(prompt, max_prompt_tokens)
        return EncodedRow(prompt_ids, self.encode_response(response), was_cut)

    def lead_ids(self) -> list[int]:
        """The tokens that every row begins with: the template's part before the prompt."""
        return common_prefix(self.encode_prompt(probe)[0] for probe in _LEAD_PROBES)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of each token, for people to look at."""
        return [self.tokenizer.decode([token], skip_special_tokens=False) for token in ids]


def answer_limit(max_response_tokens: int) -> int:
    """Tokens after which a free answer ends, in torch and in onnxruntime alike.

    Args:
        max_response_tokens (int): Longest response in training, end token included.
    """
    return max_response_tokens + 8


def common_prefix(rows: Iterable[Sequence[int]]) -> list[int]:
    """The longest beginning that all rows share."""
    shared: list[int] | None = None
    for row in rows:
        if shared is None:
            shared = list(row)
            continue
        length = 0
        for left, right in zip(shared, row, strict=False):
            if left != right:
                break
            length += 1
        del shared[length:]
    return shared or []


def _without_oldest(messages: Messages) -> Messages | None:
    """A conversation without its oldest question and what was answered; None if it has only one."""
    start = 1 if messages[0]["role"] == "system" else 0
    questions = [
        number for number in range(start + 1, len(messages)) if messages[number]["role"] == "user"
    ]
    return [*messages[:start], *messages[questions[0] :]] if questions else None


def _cut_left(encoding: Encoding, rendered: RenderedPrompt, max_tokens: int) -> list[int]:
    """Drop the prompt's first tokens until the row fits; the template stays whole."""
    inside = [
        position
        for position, (start, stop) in enumerate(encoding.offsets)
        if stop > rendered.start and start < rendered.stop and stop > start
    ]
    excess = len(encoding.ids) - max_tokens
    if excess >= len(inside):
        num_fixed = len(encoding.ids) - len(inside)
        raise RowError(
            f"The template ({num_fixed} tokens) and the longest response leave room for "
            f"{max_tokens - num_fixed} tokens of the prompt",
            "Raise `max_tokens`, or shorten the template or the response.",
        )
    dropped = set(inside[:excess])
    return [token for position, token in enumerate(encoding.ids) if position not in dropped]
