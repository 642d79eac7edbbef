"""What clients get: OpenAI's answers, whole or in pieces."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Literal, Protocol

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ptune_tui.server.job import End, Item, Piece, Reason

DONE = b"data: [DONE]\n\n"
_encoder = msgspec.json.Encoder()


class Usage(Struct, frozen=True):
    """Tokens of a request and of its answer; the virtual tokens are not counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ModelCard(Struct, frozen=True):
    """A name that can be asked."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: Literal["ptune"] = "ptune"


class ModelList(Struct, frozen=True):
    """All of them."""

    data: list[ModelCard]
    object: Literal["list"] = "list"


class AssistantMessage(Struct, frozen=True):
    """A whole answer."""

    content: str
    role: Literal["assistant"] = "assistant"
    refusal: None = None


class Delta(Struct, frozen=True, omit_defaults=True):
    """A part of an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatChoice(Struct, frozen=True):
    """The one answer of a chat."""

    message: AssistantMessage
    finish_reason: Reason
    index: int = 0
    logprobs: None = None


class DeltaChoice(Struct, frozen=True):
    """A part of the one answer of a chat."""

    delta: Delta
    finish_reason: Reason | None = None
    index: int = 0
    logprobs: None = None


class TextChoice(Struct, frozen=True):
    """The one answer of a completion, or a part of it."""

    text: str
    finish_reason: Reason | None = None
    index: int = 0
    logprobs: None = None


Choice = ChatChoice | DeltaChoice | TextChoice


class Body(Struct, frozen=True):
    """An answer, or a chunk of a stream."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | UnsetType | None = UNSET


class Shape(Protocol):
    """How one of the two kinds of answers is written."""

    id_prefix: str
    whole_object: str
    chunk_object: str

    def whole(self, text: str, reason: Reason) -> Choice:
        """A whole answer."""
        ...

    def first(self) -> Choice | None:
        """What begins a stream, if anything does."""
        ...

    def piece(self, text: str) -> Choice:
        """A piece of a stream."""
        ...

    def last(self, reason: Reason) -> Choice:
        """What ends a stream."""
        ...


class ChatShape:
    """Answers of `/v1/chat/completions`."""

    id_prefix = "chatcmpl-"
    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def whole(self, text: str, reason: Reason) -> Choice:
        """A whole answer."""
        return ChatChoice(AssistantMessage(text), reason)

    def first(self) -> Choice | None:
        """The role."""
        return DeltaChoice(Delta("assistant", ""))

    def piece(self, text: str) -> Choice:
        """A piece of a stream."""
        return DeltaChoice(Delta(content=text))

    def last(self, reason: Reason) -> Choice:
        """An empty piece with the reason."""
        return DeltaChoice(Delta(), reason)


class TextShape:
    """Answers of `/v1/completions`."""

    id_prefix = "cmpl-"
    whole_object = "text_completion"
    chunk_object = "text_completion"

    def whole(self, text: str, reason: Reason) -> Choice:
        """A whole answer."""
        return TextChoice(text, reason)

    def first(self) -> Choice | None:
        """Nothing: a text has no role."""
        return None

    def piece(self, text: str) -> Choice:
        """A piece of a stream."""
        return TextChoice(text)

    def last(self, reason: Reason) -> Choice:
        """An empty piece with the reason."""
        return TextChoice("", reason)


class Reply:
    """The answer to one request.

    Args:
        shape (Shape): Of a chat or of a completion.
        model (str): The name that was asked.
        num_prompt_tokens (int): Tokens of the request.
    """

    def __init__(self, shape: Shape, model: str, num_prompt_tokens: int) -> None:
        self._shape = shape
        self._model = model
        self._num_prompt_tokens = num_prompt_tokens
        self._id = shape.id_prefix + secrets.token_hex(12)
        self._created = int(time.time())

    def whole(self, text: str, end: End) -> bytes:
        """The body of an answer that is complete."""
        choice = self._shape.whole(text, end.reason)
        return _encoder.encode(self._body(self._shape.whole_object, [choice], self._usage(end)))

    async def events(self, items: AsyncIterator[Item], wants_usage: bool) -> AsyncIterator[bytes]:
        """The events of a stream, `[DONE]` included.

        Args:
            items (AsyncIterator[Item]): The answer.
            wants_usage (bool): Whether the last event counts the tokens.
        """
        # OpenAI's streams name the usage in every event as soon as it was asked for.
        usage = None if wants_usage else UNSET
        if (first := self._shape.first()) is not None:
            yield self._event([first], usage)
        async for item in items:
            if isinstance(item, Piece):
                yield self._event([self._shape.piece(item.text)], usage)
                continue
            yield self._event([self._shape.last(item.reason)], usage)
            if wants_usage:
                yield self._event([], self._usage(item))
        yield DONE

    def _event(self, choices: list[Choice], usage: Usage | UnsetType | None) -> bytes:
        body = self._body(self._shape.chunk_object, choices, usage)
        return b"data: " + _encoder.encode(body) + b"\n\n"

    def _body(self, name: str, choices: list[Choice], usage: Usage | UnsetType | None) -> Body:
        return Body(self._id, name, self._created, self._model, choices, usage)

    def _usage(self, end: End) -> Usage:
        num_prompt_tokens = self._num_prompt_tokens
        return Usage(num_prompt_tokens, end.num_tokens, num_prompt_tokens + end.num_tokens)
