"""What a worker is told, through `commands.jsonl`."""

from __future__ import annotations

from msgspec import Struct


class Stop(Struct, frozen=True, tag=True):
    """Stop after the current step; `save` keeps the best prompt so far."""

    save: bool


class EvaluateNow(Struct, frozen=True, tag=True):
    """Score the validation rows after the current step."""


class Pause(Struct, frozen=True, tag=True):
    """Wait after the current step; nothing is lost, and memory stays taken."""


class Continue(Struct, frozen=True, tag=True):
    """Go on after a pause."""


class AskText(Struct, frozen=True, tag=True):
    """Answer a text."""

    number: int  # repeated in the answers
    text: str


Command = Stop | EvaluateNow | Pause | Continue | AskText
