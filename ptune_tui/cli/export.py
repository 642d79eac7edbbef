"""`ptune export`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from ptune_tui.cli.talk import say
from ptune_tui.cli.work import make_display, work
from ptune_tui.errors import UsageError
from ptune_tui.jobs import new_task_folder
from ptune_tui.runs import find_run
from ptune_tui.tasks import ExportPrecision, ExportTask


def export(
    run: Annotated[str, typer.Argument(help="A run folder, a run's name, or `last`.")],
    out: Annotated[Path | None, typer.Option(help="The folder of a new bundle.")] = None,
    into: Annotated[
        Path | None, typer.Option(help="A bundle on the same base, to add the prompt to.")
    ] = None,
    name: Annotated[str, typer.Option(help="What to call the prompt in the bundle.")] = "prompt",
    precision: Annotated[
        ExportPrecision,
        typer.Option(
            help="What the bundle answers in; `auto`: `fast` where it passes the gate. With "
            "`--into` a bundle that answers in `exact` stays so."
        ),
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle, or with `--into` a prompt.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Export on other weights than it was trained on.")
    ] = False,
    display: Annotated[
        Literal["plain", "json", "none"], typer.Option(help="`json` writes the events to stdout.")
    ] = "plain",
) -> None:
    """Write a run's model and prompt as a bundle for ONNX Runtime, or add the prompt to one."""
    check_name(name)
    if (out is None) == (into is None):
        raise UsageError(
            "An export needs one place to go to.",
            "`--out BUNDLE` writes a new bundle, `--into BUNDLE` adds the prompt to one.",
        )
    bundle = out or into
    assert bundle is not None
    task = ExportTask(
        run=str(find_run(run).absolute()),
        destination=str(bundle.absolute()),
        prompt_name=name,
        precision=precision,
        overwrite=overwrite,
        force=force,
        is_addition=into is not None,
    )
    work(new_task_folder("export"), task, make_display(display))
    if display == "plain":
        say("Next:")
        chosen = f" --prompt {name}" if into else ""
        say(f'  ptune run {bundle} "your text"{chosen}')
        say(f"  ptune chat {bundle}{chosen}")


def check_name(name: str) -> None:
    """Refuse a prompt name that is no plain file name.

    Raises:
        UsageError: It has other characters than letters, digits, `-`, `_` and `.`.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(
            f"{name!r} cannot be a prompt's name.", "Use letters, digits, `-`, `_` and `.`."
        )
