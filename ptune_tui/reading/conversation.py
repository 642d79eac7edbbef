"""Conversations in a field of a record: chat messages, and ShareGPT's turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ptune_tui.errors import DataError
from ptune_tui.reading.record import Record
from ptune_tui.reading.row import Turn

CONVERSATION_FIELDS = ("messages", "conversations", "conversation", "chat")
SYSTEM_FIELD = "system"  # of ShareGPT: beside the turns
_KEYS = (("role", "content"), ("from", "value"))
_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
}
_NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}


def is_conversation(value: object) -> bool:
    """Whether a value is a list of messages."""
    if not isinstance(value, list) or not value:
        return False
    return all(
        isinstance(turn, dict) and any(role in turn and text in turn for role, text in _KEYS)
        for turn in value
    )


def turns_of(record: Record, name: str) -> list[Turn]:
    """The turns in a field.

    Args:
        record (Record): The record.
        name (str): The field; it holds a list of messages.

    Raises:
        DataError: There is none, or a turn has no known role or no text.
    """
    value: Any = record.fields.get(name)
    if not is_conversation(value):
        raise DataError(
            f"{record.place}: `{name}` is no conversation.",
            'A conversation is a list such as [{"role": "user", "content": "..."}].',
        )
    turns = [_turn(turn, number, name, record) for number, turn in enumerate(value, start=1)]
    system = record.fields.get(SYSTEM_FIELD)
    if isinstance(system, str) and system.strip() and turns[0].role != "system":
        turns.insert(0, Turn("system", system))
    return turns


def before_answer(turns: Sequence[Turn], name: str, record: Record) -> tuple[Turn, ...]:
    """The turns before the last one of the assistant.

    Raises:
        DataError: There are none.
    """
    turns = turns[: _position_of_answer(turns, name, record)]
    if not any(turn.role == "user" for turn in turns):
        raise DataError(
            f"{record.place}: in `{name}` nothing is asked before the assistant's last turn.",
            "A conversation has a turn of the user and one of the assistant.",
        )
    return tuple(turns)


def last_answer(turns: Sequence[Turn], name: str, record: Record) -> str:
    """The text of the assistant's last turn.

    Raises:
        DataError: There is none.
    """
    return turns[_position_of_answer(turns, name, record)].content


def as_text(turns: Sequence[Turn]) -> str:
    """Turns as a text, for templates that are no chat templates and for people to read."""
    if len(turns) == 1:
        return turns[0].content
    return "\n\n".join(f"{_NAMES[turn.role]}: {turn.content}" for turn in turns)


def _position_of_answer(turns: Sequence[Turn], name: str, record: Record) -> int:
    for position in reversed(range(len(turns))):
        if turns[position].role == "assistant":
            return position
    raise DataError(
        f"{record.place}: `{name}` has no turn of the assistant.",
        "The assistant's last turn is what is learned: leave the row out, or add it.",
    )


def _turn(turn: dict[str, Any], number: int, name: str, record: Record) -> Turn:
    role_key, text_key = next(keys for keys in _KEYS if keys[0] in turn and keys[1] in turn)
    role = _ROLES.get(str(turn[role_key]).lower())
    where = f"{record.place}: turn {number} of `{name}`"
    if role is None:
        raise DataError(
            f"{where} is of the role {turn[role_key]!r}.",
            "Roles that can be read: system, user (human) and assistant (gpt).",
        )
    content = _content(turn[text_key])
    if content is None:
        raise DataError(f"{where} holds no text.", "Pictures and tools are not learned from.")
    return Turn(role, content)


def _content(value: object) -> str | None:
    """The text of a message: plain, or in parts that are all text; None where it is empty."""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in value]
        if not all(isinstance(part, str) for part in parts):
            return None
        value = "".join(str(part) for part in parts)
    return value if isinstance(value, str) and value.strip() else None
