"""The rows of a run: read, split, told apart as labels or free text, and encoded. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from export.encoding import EncodedRow, RowEncoder
from export.errors import RowError, TemplateError
from export.template import CHAT
from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError
from ptune_tui.reading.column_template import is_jinja, taken_apart
from ptune_tui.reading.source import training_split, validation_split
from ptune_tui.rows import Row, RowsRead, closed_set, recognise_rows
from ptune_tui.splitting import split

BUILTIN_FOLDER = Path(__file__).parent / "builtin_data"


class BuiltinTask(msgspec.Struct, frozen=True):
    """`task.toml` of a built-in set.

    Attributes:
        about: One sentence.
        template: The template that suits it; left out: the model's.
    """

    about: str
    template: str | None = None


@dataclass(frozen=True)
class DataSet:
    """Rows to train on and rows to check by.

    Attributes:
        train: Training rows.
        validation: Validation rows.
        labels: The closed set of responses, or None for free text.
        template: The one to use: the user's, the built-in set's own, or None for the model's.
        columns: Jinja that made the prompts of a row's columns; empty where one column holds them.
        about: What was recognised in the files, a sentence each.
    """

    train: list[Row]
    validation: list[Row]
    labels: list[str] | None
    template: str | None
    columns: str = ""
    about: tuple[str, ...] = ()


def builtin_names() -> list[str]:
    """Names of the built-in sets."""
    return sorted(folder.name for folder in BUILTIN_FOLDER.iterdir() if folder.is_dir())


def load_data(config: DataConfig, seed: int) -> DataSet:
    """Read the rows of a run.

    Args:
        config (DataConfig): Which rows.
        seed (int): Of the split, where no validation rows are given.

    Raises:
        DataError: A file or a row cannot be used.
    """
    train, held_out = _read(config)
    labels = closed_set(train.rows, config.scoring)
    if held_out is None:
        training, validation = split(train.rows, labels, seed)
    else:
        training, validation = train.rows, held_out.rows
    if labels is not None:
        check_labels(validation, labels)
    template, columns = task_template(config, any(row.turns for row in training))
    about = dict.fromkeys(read.about for read in (train, held_out) if read and read.about)
    return DataSet(training, validation, labels, template, columns, tuple(about))


def _read(config: DataConfig) -> tuple[RowsRead, RowsRead | None]:
    """Training rows, and validation rows where there are some."""
    train = recognise_rows(training_path(config.train), config)
    held_out = validation_path(config.train, config.validation)
    return train, recognise_rows(held_out, config) if held_out else None


def task_template(config: DataConfig, has_turns: bool) -> tuple[str | None, str]:
    """The template of a task, or None for the model's; and Jinja that makes prompts of columns.

    Args:
        config (DataConfig): Its data.
        has_turns (bool): Whether its prompts are conversations.
    """
    template, columns = config.template, ""
    if template is None and config.train in builtin_names():
        template = read_task(config.train).template
    elif template is not None and is_jinja(template):
        template, columns = taken_apart(template)
    return (CHAT if template is None and has_turns else template), columns


def read_task(name: str) -> BuiltinTask:
    """What a built-in set is about."""
    content = (BUILTIN_FOLDER / name / "task.toml").read_bytes()
    return msgspec.toml.decode(content, type=BuiltinTask)


def data_path(text: str) -> Path:
    """What `iter_records` takes for a data argument, which may name a built-in set."""
    if text in builtin_names():
        return BUILTIN_FOLDER / text / "validation.jsonl"
    return Path(text)


def training_path(text: str) -> Path:
    """What `iter_records` takes for rows to train on, which may be a built-in set's.

    Raises:
        DataError: As `files_of`.
    """
    if text in builtin_names():
        return BUILTIN_FOLDER / text / "train.jsonl"
    return Path(training_split(text))


def validation_path(train: str, named: str | None) -> Path | None:
    """What `iter_records` takes for rows to validate by; None where there are none.

    Args:
        train (str): What is trained on: a data set may bring its own.
        named (str | None): What the user named instead.

    Raises:
        DataError: As `files_of`.
    """
    if named:
        return data_path(named)
    if train in builtin_names():
        return data_path(train)
    split_name = validation_split(train)
    return None if split_name is None else Path(split_name)


def check_labels(rows: Iterable[Row], labels: Sequence[str]) -> None:
    """Refuse rows whose response is not one of the labels.

    Raises:
        DataError: Names the first such row.
    """
    known = set(labels)
    for row in rows:
        if row.response not in known:
            shown = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
            raise DataError(
                f"{row.place}: the response {row.response!r} is not one of the {len(labels)} "
                f"training labels ({shown}).",
                'Mend the row, add it to the training rows, or set scoring = "text".',
            )


def encode_rows(
    rows: Sequence[Row], encoder: RowEncoder, max_prompt_tokens: int
) -> list[EncodedRow]:
    """Rows in tokens with their label mask.

    Args:
        rows (Sequence[Row]): The rows.
        encoder (RowEncoder): Template and tokenizer.
        max_prompt_tokens (int): A longer prompt is cut from the left, never the response.

    Raises:
        DataError: The template does not take a conversation; names file and line.
    """
    return [_encoded(row, encoder, max_prompt_tokens) for row in rows]


def _encoded(row: Row, encoder: RowEncoder, max_prompt_tokens: int) -> EncodedRow:
    request = row.request(is_chat=encoder.renderer.is_chat)
    try:
        return encoder.encode_row(request, row.response, max_prompt_tokens)
    except (RowError, TemplateError) as error:
        raise DataError(f"{row.place}: {error.message}", error.hint) from None


def prompt_limit(rows: Sequence[Row], encoder: RowEncoder, max_tokens: int) -> tuple[int, int]:
    """Tokens that a prompt may have so that any response fits behind it, and the longest response.

    Args:
        rows (Sequence[Row]): All rows of a run.
        encoder (RowEncoder): Template and tokenizer.
        max_tokens (int): Longest row.

    Raises:
        DataError: A response leaves no room for the template; names file and line.
    """
    lengths = [len(encoder.encode_response(row.response)) for row in rows]
    longest = max(range(len(rows)), key=lambda number: lengths[number])
    limit = max_tokens - lengths[longest]
    try:
        encoder.encode_prompt("a " * max(1, max_tokens), limit)
    except RowError as error:
        raise DataError(f"{rows[longest].place}: {error.message}.", error.hint) from None
    return limit, lengths[longest]
