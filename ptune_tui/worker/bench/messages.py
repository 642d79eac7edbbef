"""What a bench and its children say to each other over pipes, one JSON object a line."""

from __future__ import annotations

from typing import BinaryIO

import msgspec
from msgspec import Struct

from ptune_tui.answering_speed import Unit
from ptune_tui.errors import Category


class TakeGradient(Struct, frozen=True, tag=True):
    """Compute the first prompt's gradient and write it to a file; nothing is stepped."""

    path: str


class TakeStep(Struct, frozen=True, tag=True):
    """Do one training step."""


class TakeMeasure(Struct, frozen=True, tag=True):
    """Take one measure of answering."""

    measure: str


Request = TakeGradient | TakeStep | TakeMeasure


class Prepared(Struct, frozen=True, tag=True):
    """The shared files are written; the child ends."""

    weights_hash: str
    versions: dict[str, str]


class Loaded(Struct, frozen=True, tag=True):
    """The contender's model is in memory."""

    seconds: float
    loading_peak_bytes: int | None  # None: the peak cannot be forgotten, it stays in the steps'
    computed_by: str


class Computed(Struct, frozen=True, tag=True):
    """A gradient or a step is done."""

    seconds: float
    loss: float
    peak_memory_bytes: int


class InputsPrepared(Struct, frozen=True, tag=True):
    """What every answering contender reads is written; the child ends."""

    precisions: list[str]  # the bundle's graphs
    weights_hash: str
    labels: list[str]
    mean_row_tokens: float


class ModelPrepared(Struct, frozen=True, tag=True):
    """A contender's own model is written; the child ends."""


class Ready(Struct, frozen=True, tag=True):
    """An answering contender has its model in memory and its first token behind it."""

    computed_by: str
    measures: list[str]  # besides those that every contender has


class TakenFigure(Struct, frozen=True):
    """One figure of one round."""

    name: str
    unit: Unit
    value: float


class Taken(Struct, frozen=True, tag=True):
    """A measure is taken."""

    figures: list[TakenFigure]
    answers: list[str] | None = None  # the label of each scored row
    computed_by: str = ""  # as the contender says it now


class Failed(Struct, frozen=True, tag=True):
    """The child cannot go on; it ends."""

    category: Category
    message: str
    hint: str


Reply = Prepared | Loaded | Computed | InputsPrepared | ModelPrepared | Ready | Taken | Failed

_encoder = msgspec.json.Encoder()
_request_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_reply_decoder: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def encode_line(message: Request | Reply) -> bytes:
    """One message as a JSON line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """The request of one line.

    Raises:
        msgspec.ValidationError: The line is no request.
    """
    return _request_decoder.decode(line)


def decode_reply(line: bytes) -> Reply:
    """The reply of one line.

    Raises:
        msgspec.ValidationError: The line is no reply.
    """
    return _reply_decoder.decode(line)


def say(replies: BinaryIO, reply: Reply) -> None:
    """Send a reply at once."""
    replies.write(encode_line(reply))
    replies.flush()
