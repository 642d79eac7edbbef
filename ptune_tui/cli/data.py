"""`ptune data check`: what is wrong with data before it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from ptune_tui.cli.talk import ProgressLine, say
from ptune_tui.cli.train_options import MaxTokens, PromptField, ResponseField, ScoringOption
from ptune_tui.cli.train_options import TemplateOption as Template
from ptune_tui.config import RunConfig, override
from ptune_tui.errors import EXIT_CODES, PTuneError, UsageError

if TYPE_CHECKING:
    from ptune_tui.data_check.cleaning import Cleaned
    from ptune_tui.data_check.source import SplitFile
    from ptune_tui.tokenizer_card import TokenizerCard

data = typer.Typer(name="data", help="Look at data before training.", no_args_is_help=True)

_SAY_EVERY = 250_000


@data.callback()
def _group() -> None:
    """Look at data before training."""


@data.command()
def check(
    file: Annotated[str, typer.Argument(help="Training rows; what `ptune train --data` takes.")],
    validation: Annotated[
        str | None, typer.Option(help="Validation rows; left out: the set's own split, if any.")
    ] = None,
    test: Annotated[str | None, typer.Option(help="Test rows.")] = None,
    model: Annotated[
        str, typer.Option(help="Whose tokenizer and template count; what `ptune train` takes.")
    ] = "default",
    tokens: Annotated[
        bool, typer.Option("--tokens/--no-tokens", help="Count tokens with the model's tokenizer.")
    ] = True,
    template: Template = None,
    prompt_field: PromptField = None,
    response_field: ResponseField = None,
    max_tokens: MaxTokens = None,
    scoring: ScoringOption = None,
    places: Annotated[int, typer.Option(help="Places to name of each kind of finding.", min=1)] = 5,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write a cleaned copy of FILE to OUT.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Find duplicates, leaks between splits, wrong labels, damaged texts and secrets.

    Exit code 3 where there are errors (with `--fix`: errors that it could not mend).
    """
    from ptune_tui.cli.findings_table import lines
    from ptune_tui.data_check.check import Check
    from ptune_tui.data_check.cleaning import check_destination, write_cleaned

    asked = {
        "data.train": file,
        "data.template": template,
        "data.prompt_field": prompt_field,
        "data.response_field": response_field,
        "data.max_tokens": max_tokens,
        "data.scoring": scoring,
    }
    config = override(RunConfig(), asked).data
    files = _files(file, validation, test)
    if fix is not None:
        check_destination(fix)
    line = _Progress()
    card = _card(model) if tokens else None
    cleaned = None
    try:
        checked = Check(files, config, card, places, line.show).run()
        line.close()
        if fix is not None:
            cleaned = write_cleaned(files[0].path, fix, config, checked, line.show)
    finally:
        line.close()
    if as_json:
        output = {"report": checked.report, "cleaned": cleaned}
        typer.echo(msgspec.json.encode(output).decode())
    else:
        for text in lines(checked.report):
            typer.echo(text)
    if cleaned is not None:
        _say_cleaned(cleaned, checked.num_errors_left)
    num_errors = checked.num_errors_left if cleaned else checked.report.num_of("error")
    if num_errors or (cleaned and cleaned.lost_labels):
        raise typer.Exit(EXIT_CODES["data"])


class _Progress:
    """Shows how far a check is: its files have no known number of rows."""

    def __init__(self) -> None:
        self._line = ProgressLine()
        self._next = _SAY_EVERY

    def show(self, what: str, done: int) -> None:
        self._line.update(f"{done:,} {what}" if done else what)
        if not self._line.is_terminal and done >= self._next:
            say(f"  {done:,} {what}")
            self._next = done + _SAY_EVERY

    def close(self) -> None:
        self._line.close()
        self._next = _SAY_EVERY


def _files(file: str, validation: str | None, test: str | None) -> list[SplitFile]:
    from ptune_tui.data import data_path, training_path, validation_path
    from ptune_tui.data_check.source import SplitFile

    files = [SplitFile("training", training_path(file))]
    held_out = validation_path(file, validation)
    if held_out:
        files.append(SplitFile("validation", held_out))
    if test:
        files.append(SplitFile("test", data_path(test)))
    for index, one in enumerate(files):
        for other in files[:index]:
            if one.path.absolute() == other.path.absolute():
                raise UsageError(
                    f"{one.path} is named for {other.split} and for {one.split}.",
                    "Name another file, or leave one out.",
                )
    return files


def _card(source: str) -> TokenizerCard | None:
    """The model's tokenizer; made by a worker once, because reading it takes torch."""
    from ptune_tui.cli.display import SilentDisplay
    from ptune_tui.cli.work import work
    from ptune_tui.jobs import new_task_folder
    from ptune_tui.models import resolve
    from ptune_tui.tasks import TokenizerTask
    from ptune_tui.tokenizer_card import card_path, read_card

    line = ProgressLine()
    model = resolve(source, lambda done, total: line.show("fetching the model", done, total), say)
    line.close()
    path = card_path(model.path)
    if not path.is_file():
        _require_training_extra()
        say(f"Reading the tokenizer of {model.name}; it is kept for the next time.")
        task = TokenizerTask(str(model.path.absolute()), model.name, str(path.absolute()))
        work(new_task_folder("tokenizer"), task, SilentDisplay())
    return read_card(path)


def _require_training_extra() -> None:
    from ptune_tui.cli.work import require_training_extra

    try:
        require_training_extra()
    except PTuneError as error:
        hint = f"{error.hint} Or leave token lengths out: `--no-tokens`."
        raise UsageError(error.message, hint) from None


def _say_cleaned(cleaned: Cleaned, num_errors_left: int) -> None:
    say(f"{cleaned.num_written:,} rows written to {cleaned.path}.")
    done = (
        (cleaned.num_left_out, "left out: no rows, or empty"),
        (cleaned.num_dropped, "dropped"),
        (cleaned.num_repaired, "with a repaired encoding"),
        (cleaned.num_redacted, "with a secret taken out"),
        (cleaned.num_relabelled, "with the commoner form of their label"),
    )
    for count, what in done:
        if count:
            say(f"  {count:,} {what}")
    if num_errors_left:
        say(f"{num_errors_left:,} errors are left that it cannot mend.")
    for lost in cleaned.lost_labels:
        say(lost.in_words())
