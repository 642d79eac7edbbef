"""A row: what is asked and what is to be answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptune_tui.reading.record import place_of


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: Its text.
    """

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Row:
    """One example.

    Attributes:
        prompt: The input.
        response: What is to be answered.
        source: The file it came from.
        line: Its place there, counted from 1, as in `Record`.
        references: All answers that are right, `response` among them; empty where it is the one.
        turns: The messages before the response, where the prompt is a conversation.
        item: As in `Record`.
    """

    prompt: str
    response: str
    source: str
    line: int
    references: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    item: int = 0

    @property
    def place(self) -> str:
        """File, line and item, for errors."""
        return place_of(self.source, self.line, self.item)

    @property
    def right_answers(self) -> tuple[str, ...]:
        """All answers that are right, at least one."""
        return self.references or (self.response,)

    def request(self, *, is_chat: bool) -> str | list[dict[str, str]]:
        """What an encoder takes for the prompt, as `request_of`."""
        return request_of(self.prompt, self.turns, is_chat)


def request_of(text: str, turns: Sequence[Turn], is_chat: bool) -> str | list[dict[str, str]]:
    """What an encoder takes: the messages for a chat template, else the text.

    Args:
        text (str): The prompt.
        turns (Sequence[Turn]): The same as a conversation; empty where it is none.
        is_chat (bool): Whether the template is the model's chat template.
    """
    if not turns or not is_chat:
        return text
    return [{"role": turn.role, "content": turn.content} for turn in turns]
