"""What a chat's two sides say to each other over pipes, one JSON object a line.

    python -P -m ptune_tui.worker --chat BUNDLE [--prompt NAME] [--precision NAME]

The child answers from a bundle with onnxruntime; standard input carries `Ask` and `EndAnswer`,
standard output carries the rest. It ends when its standard input does.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from ptune_tui.errors import Category

Speaker = Literal["base", "tuned"]


class Ask(Struct, frozen=True, tag=True):
    """A request; `speakers` answer in this order."""

    number: int  # of the request, repeated in the answers
    text: str
    speakers: list[Speaker]


class EndAnswer(Struct, frozen=True, tag=True):
    """No more of an answer is wanted, begun or not; those behind it are."""

    number: int  # of the request
    speaker: Speaker


class Ready(Struct, frozen=True, tag=True):
    """The bundle is open."""

    model: str
    prompt: str
    precision: str
    labels: list[str] | None
    num_virtual_tokens: int
    seconds: float


class Piece(Struct, frozen=True, tag=True):
    """A piece of an answer, as it is generated."""

    number: int
    speaker: Speaker
    text: str
    num_tokens: int  # of the answer so far


class Answered(Struct, frozen=True, tag=True):
    """An answer is complete, or was ended."""

    number: int
    speaker: Speaker
    text: str
    num_tokens: int  # that were written; 0 for a label, which is scored
    seconds: float
    probability: float | None  # of the label among all labels, where all are scored: up to 20
    was_ended: bool = False  # before it was complete


class ChatFailed(Struct, frozen=True, tag=True):
    """A request, or the whole chat where `number` is None, ended with an error."""

    number: int | None
    category: Category
    message: str
    hint: str


Request = Ask | EndAnswer
Reply = Ready | Piece | Answered | ChatFailed

_encoder = msgspec.json.Encoder()
_reply_decoder: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
_request_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def encode_line(item: Request | Reply) -> bytes:
    """One message as a JSON line, newline included."""
    return _encoder.encode(item) + b"\n"


def decode_reply(line: bytes) -> Reply:
    """The reply of one line.

    Raises:
        msgspec.ValidationError: The line is no reply.
    """
    return _reply_decoder.decode(line)


def decode_request(line: bytes) -> Request:
    """The request of one line.

    Raises:
        msgspec.ValidationError: The line is no request.
    """
    return _request_decoder.decode(line)
