"""Where the right answers of a row come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ptune_tui.errors import DataError
from ptune_tui.reading.conversation import is_conversation, last_answer, turns_of
from ptune_tui.reading.record import Record
from ptune_tui.reading.values import as_text, is_missing, value_of


class Answer(Protocol):
    """Reads the answers of a record."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that it reads."""

    def of(self, record: Record) -> tuple[str, ...]:
        """All right answers, the one that is learned first.

        Raises:
            DataError: The record has none; names file and line.
        """


@dataclass(frozen=True)
class AnswerColumn:
    """A field: a text, several texts, or the assistant's turn.

    Attributes:
        name: The field.
        references: Another one, of one or several more right answers.
    """

    name: str
    references: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that it reads."""
        return (self.name,) if self.references is None else (self.name, self.references)

    def of(self, record: Record) -> tuple[str, ...]:
        """All right answers of a record, the one that is learned first."""
        value = value_of(record, self.name)
        if is_conversation(value):
            return (last_answer(turns_of(record, self.name), self.name, record),)
        if isinstance(value, list):
            return _several(value, self.name, record)
        answer = as_text(value, self.name, record).strip()
        return (answer, *(other for other in self._others(record) if other != answer))

    def _others(self, record: Record) -> tuple[str, ...]:
        if self.references is None:
            return ()
        more = record.fields.get(self.references)
        is_blank = more == [] or (isinstance(more, str) and not more.strip())
        if is_missing(more) or is_blank:
            return ()
        return _several(more if isinstance(more, list) else [more], self.references, record)


@dataclass(frozen=True)
class LastTurn:
    """The assistant's last turn of a conversation."""

    name: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that it reads."""
        return (self.name,)

    def of(self, record: Record) -> tuple[str, ...]:
        """All right answers of a record, the one that is learned first."""
        return (last_answer(turns_of(record, self.name), self.name, record).strip(),)


def _several(values: list[object], name: str, record: Record) -> tuple[str, ...]:
    if not values:
        raise DataError(f"{record.place}: `{name}` is an empty list.", "Give an answer.")
    return tuple(as_text(value, name, record).strip() for value in values)
