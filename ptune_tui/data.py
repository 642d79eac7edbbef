"""The rows of a run: read, split, told apart as labels or free text, and encoded. Torch-free."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from export.encoding import EncodedRow, RowEncoder
from export.errors import RowError
from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError
from ptune_tui.rows import Row, closed_set, num_held_out, read_rows

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
    """

    train: list[Row]
    validation: list[Row]
    labels: list[str] | None
    template: str | None


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
    builtin = BUILTIN_FOLDER / config.train
    if config.train in builtin_names():
        train = read_rows(builtin / "train.jsonl", config)
        held_out = Path(config.validation) if config.validation else builtin / "validation.jsonl"
        validation = read_rows(held_out, config)
    else:
        train = read_rows(Path(config.train), config)
        validation = read_rows(Path(config.validation), config) if config.validation else []
    labels = closed_set(train, config.scoring)
    if not validation:
        train, validation = split(train, seed)
    if labels is not None:
        check_labels(validation, labels)
    template = config.template
    if template is None and config.train in builtin_names():
        template = read_task(config.train).template
    return DataSet(train, validation, labels, template)


def read_task(name: str) -> BuiltinTask:
    """What a built-in set is about."""
    content = (BUILTIN_FOLDER / name / "task.toml").read_bytes()
    return msgspec.toml.decode(content, type=BuiltinTask)


def data_path(text: str) -> Path:
    """The file of a data argument: a path, or a built-in set's validation rows."""
    if text in builtin_names():
        return BUILTIN_FOLDER / text / "validation.jsonl"
    return Path(text)


def split(rows: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Hold a tenth of the rows out for validation, at least one.

    Raises:
        DataError: There is only one row.
    """
    if len(rows) < 2:
        raise DataError(
            f"{rows[0].source} has one row, and one more is needed to validate.",
            "Add rows, or name a validation file with `--validation`.",
        )
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    held_out = set(order[: num_held_out(len(rows))])
    train = [row for number, row in enumerate(rows) if number not in held_out]
    return train, [row for number, row in enumerate(rows) if number in held_out]


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
    """
    return [encoder.encode_row(row.prompt, row.response, max_prompt_tokens) for row in rows]


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
