"""`ptune report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptune_tui.cli.talk import say
from ptune_tui.errors import UsageError
from ptune_tui.runs import find_run
from ptune_tui.tasks import REPORT_FILE, REPORT_MARK


def report(
    run: Annotated[str, typer.Argument(help="A run folder, a run's name, or `last`.")],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; left out: `report.html` in the run folder.")
    ] = None,
) -> None:
    """Tell a run in one HTML file: curves, scores, settings, the command that makes it again."""
    from ptune_tui.report.contents import read_report
    from ptune_tui.report.page import render
    from ptune_tui.tasks import write_atomically

    folder = find_run(run)
    path = out or folder / REPORT_FILE
    _check_place(path)
    found = read_report(folder)
    write_atomically(path, render(found).encode("utf-8", "replace"))
    typer.echo(path)
    say("Open it in a browser; it needs nothing beside it, and no network.")


def _check_place(path: Path) -> None:
    """Refuse a place that a report cannot take.

    Raises:
        UsageError: Something else is there, or its folder is not.
    """
    if not path.parent.is_dir():
        raise UsageError(
            f"There is no folder {path.parent} for the report.", "Name another with `--out`."
        )
    if not path.exists():
        return
    if not path.is_file() or REPORT_MARK.encode() not in path.read_bytes()[:200]:
        raise UsageError(
            f"{path} is there already and is no report.", "Name another file with `--out`."
        )
