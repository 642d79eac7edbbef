"""Which fields of a record make a row: recognised by their names, or named by the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError
from ptune_tui.reading.answers import Answer, AnswerColumn, LastTurn
from ptune_tui.reading.column_template import ColumnTemplate, is_jinja, taken_apart
from ptune_tui.reading.conversation import CONVERSATION_FIELDS, is_conversation, turns_of
from ptune_tui.reading.questions import Instruction, Question, Rendered, TextColumn, TurnsBefore
from ptune_tui.reading.record import Record
from ptune_tui.reading.row import Row

_INSTRUCTIONS = (
    ("instruction", "input", "output"),
    ("instruction", "input", "response"),
    ("instruction", "context", "response"),
)
_INPUTS = (
    *("prompt", "text", "sentence", "question", "instruction", "input", "query", "utterance"),
    *("message", "review", "content", "document", "article", "source"),
)
_ANSWERS = (
    *("response", "completion", "label_text", "label_name", "label", "answer", "output", "target"),
    *("summary", "highlights", "class", "category", "intent", "sentiment", "emotion"),
)
_REFERENCES = ("references", "responses")
_NATIVE = {"prompt", "response"}
_NAMING = "Name the columns with `--prompt-field` and `--response-field`"


@dataclass(frozen=True)
class ColumnMapping:
    """How the records of a data set become rows.

    Attributes:
        question: Where the input comes from.
        answer: Where the right answers come from.
        about: What was recognised and what is not used, in words; None where nothing was guessed.
    """

    question: Question
    answer: Answer
    about: str | None = None

    def row_of(self, record: Record) -> Row:
        """The row of a record.

        Raises:
            DataError: A field is missing, empty or not text; names file and line.
        """
        text, turns = self.question.of(record)
        answers = self.answer.of(record)
        references = answers if len(answers) > 1 else ()
        place = (record.source, record.line)
        return Row(text, answers[0].strip(), *place, references, turns, record.item)


def recognise(record: Record, config: DataConfig) -> ColumnMapping:
    """The mapping of a data set, from its first record.

    Args:
        record (Record): The first one.
        config (DataConfig): Names and a template that the user gave; they win.

    Raises:
        UsageError: The template is not valid.
        DataError: The record is of no known shape.
    """
    question = recognise_question(record, config)
    answer = _answer(record, config, question)
    is_guess = config.prompt_field is None and not is_jinja(config.template)
    is_guess = is_guess or config.response_field is None or len(answer.columns) > 1
    used = {*question.columns, *answer.columns}
    if not is_guess or used == _NATIVE:
        return ColumnMapping(question, answer)
    unused = [name for name in record.fields if name not in used]
    about = f"input: {_listed(question.columns)}; answer: {_listed(answer.columns)}"
    if isinstance(answer, LastTurn):
        about += ", the assistant's last turn"
    about += f"; not used: {_listed(unused)}" if unused else ""
    return ColumnMapping(question, answer, about)


def recognise_question(record: Record, config: DataConfig) -> Question:
    """Where the input comes from, in a data set that need not have answers.

    Args:
        record (Record): The first one.
        config (DataConfig): Names and a template that the user gave; they win.

    Raises:
        UsageError: The template is not valid.
        DataError: The record is of no known shape.
    """
    if config.template is not None and is_jinja(config.template):
        return Rendered(ColumnTemplate(taken_apart(config.template)[1]))
    name = config.prompt_field
    if name is not None:
        is_whole = _is_whole_conversation(record, name) and config.response_field is None
        return TurnsBefore(name) if is_whole else TextColumn(name)
    if not _has_native(record):
        for field in CONVERSATION_FIELDS:
            if is_conversation(record.fields.get(field)):
                is_whole = _is_whole_conversation(record, field)
                return TurnsBefore(field) if is_whole else TextColumn(field)
        for instruction, about, answer in _INSTRUCTIONS:
            is_answer = config.response_field in (instruction, about)
            if {instruction, about, answer} <= record.fields.keys() and not is_answer:
                return Instruction(instruction, about)
    found = _first(record, [name for name in _INPUTS if name != config.response_field])
    if found is None:
        raise DataError(
            f"{record.place}: this row has no `prompt`, nor another field that is known to be the "
            "input.",
            f"It has {_listed(list(record.fields))}. {_NAMING}, or fill them in: "
            '`--template "{{ title }} - {{ text }}"`.',
        )
    return TextColumn(found)


def _answer(record: Record, config: DataConfig, question: Question) -> Answer:
    named = config.response_field
    taken = {*question.columns, named}
    references = _first(record, [name for name in _REFERENCES if name not in taken])
    if named is not None:
        return AnswerColumn(named, references)
    if isinstance(question, TurnsBefore):
        return LastTurn(question.name)
    found = _first(record, [name for name in _ANSWERS if name not in question.columns])
    if found is not None:
        return AnswerColumn(found, references)
    if references is not None:
        return AnswerColumn(references)
    raise DataError(
        f"{record.place}: this row has no `response`, nor another field that is known to be the "
        "answer.",
        f"It has {_listed(list(record.fields))}. {_NAMING}.",
    )


def _is_whole_conversation(record: Record, name: str) -> bool:
    """Whether a field holds the answer, too: as the last turn, or before a last word."""
    if not is_conversation(record.fields.get(name)):
        return False
    return any(turn.role == "assistant" for turn in turns_of(record, name)) and (
        turns_of(record, name)[-1].role == "assistant" or _first(record, _ANSWERS) is None
    )


def _has_native(record: Record) -> bool:
    return record.fields.keys() >= _NATIVE


def _first(record: Record, names: Sequence[str]) -> str | None:
    """The first of some names that is a field of a record, in whatever case it is written."""
    fields = {name.lower(): name for name in reversed(list(record.fields))}
    return next(
        (fields[name] for name in names if name in fields and not _is_nested(record, fields[name])),
        None,
    )


def _is_nested(record: Record, name: str) -> bool:
    """Whether a field holds something that is neither text nor texts nor a conversation."""
    value = record.fields[name]
    if isinstance(value, list):
        return not is_conversation(value) and not all(isinstance(item, str) for item in value)
    return isinstance(value, dict)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
