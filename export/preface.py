"""What an untuned model is told before a row: an instruction, examples. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A row with its response, to be shown."""

    prompt: str
    response: str


@dataclass(frozen=True)
class Preface:
    """What stands before the row that is asked.

    Attributes:
        instruction: What to do, in words; may be empty.
        examples: Rows that are answered already.
    """

    instruction: str = ""
    examples: tuple[Example, ...] = ()


NO_PREFACE = Preface()
