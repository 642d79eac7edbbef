"""The texts that `ptune run --input` answers: a text a line, or a field of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ptune_tui.cli.talk import say
from ptune_tui.config import DataConfig
from ptune_tui.data import data_path
from ptune_tui.errors import DataError
from ptune_tui.reading.formats import KINDS, kind_of
from ptune_tui.reading.mapping import recognise_question
from ptune_tui.reading.records import iter_records
from ptune_tui.reading.row import request_of
from ptune_tui.reading.source import is_known, parted
from ptune_tui.reading.text_file import read_text

if TYPE_CHECKING:
    from export.answering import Answerer
    from export.encoding import Request


def requests_in(source: Path, prompt_field: str | None, answerer: Answerer) -> list[Request]:
    """What a file or a data set asks.

    Args:
        source (Path): A text file, or what `iter_records` reads.
        prompt_field (str | None): Name of the input column; None to recognise it, or as in
            training where that took several columns.
        answerer (Answerer): Who answers, and so what conversations are rendered by.

    Raises:
        DataError: It cannot be read; names file and line.
    """
    if not source.exists():  # a file of that name goes before a built-in set
        source = data_path(source.as_posix())
    if not is_known(source.as_posix()):
        raise DataError(
            f"There is no file {source}.", "Give a file with a text a line, or a data set."
        )
    if kind_of(source) not in KINDS and source.is_file():
        lines: list[Request] = [line.rstrip("\r") for line in read_text(source).split("\n")]
        return lines if lines[-1] else lines[:-1]  # behind the last line break is no line
    columns = answerer.record.template.column_template if prompt_field is None else ""
    config = DataConfig(prompt_field=prompt_field, template=columns or None)
    records = iter_records(source)
    first = next(records, None)
    if first is None:
        return []
    question = recognise_question(first, config)
    if not (columns or prompt_field or question.columns == ("prompt",)):
        names = " and ".join(f"`{name}`" for name in question.columns)
        say(f"note: {parted(source.as_posix())[0]}: the texts are read from {names}.")
    is_chat = answerer.encoder.renderer.is_chat
    return [request_of(*question.of(record), is_chat) for record in (first, *records)]
