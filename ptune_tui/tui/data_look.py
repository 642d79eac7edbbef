"""A data set at a glance: its columns, what they are taken for, how many rows. Draws nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path

from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError, Explanation, PTuneError, explain
from ptune_tui.reading.answers import LastTurn
from ptune_tui.reading.mapping import ColumnMapping, recognise
from ptune_tui.reading.questions import Instruction, Question, Rendered, TurnsBefore
from ptune_tui.reading.record import Record
from ptune_tui.reading.records import iter_records
from ptune_tui.reading.source import is_here, training_split, validation_split
from ptune_tui.rows import MAX_LABELS, is_closed_set
from ptune_tui.tui.fields import builtin_sets
from ptune_tui.tui.fitting import changed_at, data_file
from ptune_tui.tui.wording import one_line

MAX_SECONDS = 2.0  # nobody waits longer for a glance
BATCH = 1000  # rows between two looks at the clock
MAX_VALUE = 200  # characters of a value that are kept


@dataclass(frozen=True)
class DataLook:
    """What a look at a data set found.

    Attributes:
        columns: Values of the first record by column, in one line each.
        inputs: The columns that make the input; empty where none was recognised.
        answers: The columns that hold the answer; likewise.
        shape: What was recognised, in words.
        num_rows: Rows that were read.
        is_whole: Whether those are all of them.
        labels: Different answers and how often each is one, the most frequent first; None for
            free text.
        validation: Where validation rows come from, in words; empty of a set for validation.
        problem: What is wrong, where something is; what was found before it is kept.
    """

    columns: dict[str, str]
    inputs: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    shape: str = ""
    num_rows: int = 0
    is_whole: bool = True
    labels: tuple[tuple[str, int], ...] | None = None
    validation: str = ""
    problem: Explanation | None = None


def look_at(data: DataConfig, *, is_validation: bool = False) -> DataLook:
    """Look at a run's training rows; touches no network. Reads files: not for the event loop.

    Args:
        data (DataConfig): Which rows, and what the user says of their columns.
        is_validation (bool): Whether its `train` is to be validated by: read as it is named.
    """
    path = data_file(data)
    try:
        if not path.exists() and not is_here(data.train):
            raise DataError(
                f"{data.train} is not on this disk.",
                "Where it is a data set of the hub, the preview (F6) or the run fetches it.",
            )
        name = str(path) if is_validation else training_split(str(path))
        return _look(name, changed_at(name), data, is_validation)
    except (PTuneError, OSError) as error:
        return DataLook({}, problem=explain(error))


@lru_cache(maxsize=8)
def _look(name: str, _changed: tuple[int, ...], data: DataConfig, is_validation: bool) -> DataLook:
    records = iter_records(Path(name))
    first = next(records, None)
    if first is None:
        raise DataError(f"{data.train} has no rows.", "Choose another file.")
    columns = {name: shown_value(value) for name, value in first.fields.items()}
    try:
        mapping = recognise(first, data)
    except PTuneError as error:
        return DataLook(columns, problem=explain(error))
    count = _Count()
    try:
        count.read(chain((first,), records), mapping, data)
        problem = None
    except PTuneError as error:
        problem = explain(error)
    return DataLook(
        columns=columns,
        inputs=mapping.question.columns,
        answers=mapping.answer.columns,
        shape=shape_of(mapping, first),
        num_rows=count.num_rows,
        is_whole=count.is_whole,
        labels=_labels(count, data),
        validation="" if is_validation else _validation(data),
        problem=problem,
    )


@dataclass
class _Count:
    """Rows that were read, and their answers."""

    num_rows: int = 0
    is_whole: bool = False
    answers: Counter[str] = field(default_factory=Counter)

    def read(self, records: Iterable[Record], mapping: ColumnMapping, data: DataConfig) -> None:
        until = time.monotonic() + MAX_SECONDS
        for record in records:
            is_time_to_look = self.num_rows and self.num_rows % BATCH == 0
            if is_time_to_look and time.monotonic() > until:
                return
            row = mapping.row_of(record)
            self.num_rows += 1
            if data.scoring == "labels" or len(self.answers) <= MAX_LABELS:
                self.answers[row.response] += 1
        self.is_whole = True


def shape_of(mapping: ColumnMapping, record: Record) -> str:
    """What a data set was taken for, in words.

    Args:
        mapping (ColumnMapping): How its records become rows.
        record (Record): The first of them.
    """
    answer = ", ".join(f"`{name}`" for name in mapping.answer.columns)
    if isinstance(mapping.answer, LastTurn):
        return f"conversations in {answer}; the assistant's last turn is the answer"
    return f"{_input_words(mapping.question, record)} -> {answer}"


def _input_words(question: Question, record: Record) -> str:
    if isinstance(question, Rendered):
        return f"the template over {', '.join(f'`{name}`' for name in question.columns)}"
    if isinstance(question, Instruction):
        return f"instructions: `{question.instruction}` and `{question.input}`"
    if isinstance(question, TurnsBefore) or isinstance(
        record.fields.get(question.columns[0]), list
    ):
        return f"the conversation in `{question.columns[0]}`"
    return f"`{question.columns[0]}`"


def shown_value(value: object) -> str:
    """A value of a record in one line, cut where it is long."""
    text = one_line(value if isinstance(value, str) else repr(value))
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _labels(count: _Count, data: DataConfig) -> tuple[tuple[str, int], ...] | None:
    if not is_closed_set(len(count.answers), count.num_rows, data.scoring):
        return None
    return tuple(count.answers.most_common())


def _validation(data: DataConfig) -> str:
    """Where the validation rows come from."""
    if data.validation is not None:
        return data.validation
    if data.train in builtin_sets():
        return "its own"
    return validation_split(data.train) or "a tenth of the different inputs, held out"
