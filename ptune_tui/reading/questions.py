"""Where the input of a row comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ptune_tui.reading.column_template import ColumnTemplate
from ptune_tui.reading.conversation import as_text as conversation_text
from ptune_tui.reading.conversation import before_answer, is_conversation, turns_of
from ptune_tui.reading.record import Record
from ptune_tui.reading.row import Turn
from ptune_tui.reading.values import as_text, is_missing, value_of

Asked = tuple[str, tuple[Turn, ...]]  # the text, and the turns where it is a conversation


class Question(Protocol):
    """Reads the input of a record."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that it reads."""

    def of(self, record: Record) -> Asked:
        """The input.

        Raises:
            DataError: The record has none; names file and line.
        """


@dataclass(frozen=True)
class TextColumn:
    """One field: a text, or a conversation that is answered elsewhere."""

    name: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that it reads."""
        return (self.name,)

    def of(self, record: Record) -> Asked:
        """The input of a record."""
        value = value_of(record, self.name)
        if is_conversation(value):
            turns = tuple(turns_of(record, self.name))
            return conversation_text(turns), turns
        return as_text(value, self.name, record), ()


@dataclass(frozen=True)
class Instruction:
    """Alpaca's: an instruction, and behind it the text that it is about, which may be missing."""

    instruction: str
    input: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that it reads."""
        return (self.instruction, self.input)

    def of(self, record: Record) -> Asked:
        """The input of a record."""
        instruction = as_text(value_of(record, self.instruction), self.instruction, record)
        about = record.fields.get(self.input)
        if is_missing(about) or (isinstance(about, str) and not about.strip()):
            return instruction, ()
        return f"{instruction}\n\n{as_text(about, self.input, record)}", ()


@dataclass(frozen=True)
class TurnsBefore:
    """A conversation, up to the assistant's last turn."""

    name: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that it reads."""
        return (self.name,)

    def of(self, record: Record) -> Asked:
        """The input of a record."""
        turns = before_answer(turns_of(record, self.name), self.name, record)
        return conversation_text(turns), turns


@dataclass(frozen=True)
class Rendered:
    """Several fields in a template."""

    template: ColumnTemplate

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that it reads."""
        return self.template.columns

    def of(self, record: Record) -> Asked:
        """The input of a record."""
        return self.template.render(record), ()
