"""Opens the terminal app, and says on the normal screen afterwards how things went."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ptune_tui.cli.talk import say
from ptune_tui.cli.work import note_run, require_training_extra
from ptune_tui.errors import UsageError
from ptune_tui.jobs import start
from ptune_tui.runs import find_run, training_config
from ptune_tui.tasks import TrainTask


def missing_terminal() -> str | None:
    """Why the app cannot be drawn here, as a sentence; None where it can."""
    for stream, name in ((sys.stdin, "input"), (sys.stdout, "output")):
        if not stream.isatty():
            return f"The app needs a terminal, and its {name} is none."
    kind = os.environ.get("TERM", "")
    if kind in ("", "dumb") and sys.platform != "win32":  # Windows' terminals do not set it
        return f"The app needs a terminal that it can draw on, and TERM is {kind or 'not set'}."
    return None


def require_terminal(instead: str) -> None:
    """Refuse what cannot be drawn, before anything is started.

    Args:
        instead (str): What to do without a terminal.

    Raises:
        UsageError: The app cannot be drawn here.
    """
    if reason := missing_terminal():
        raise UsageError(reason, instead)


def open_app() -> None:
    """Open the app where a new user begins.

    Raises:
        UsageError: There is no terminal.
    """
    require_terminal(
        "Everything goes without one, too: `ptune train`, `ptune eval`, `ptune export`, "
        "`ptune run`; `ptune --help` lists all commands."
    )
    _run()


def open_training(folder: Path, task: TrainTask) -> None:
    """Start a training run, or go on with one, and open the app on it."""
    require_training_extra()
    start(folder, task)
    note_run(folder)
    _run(attach=folder)


def attach(
    run: Annotated[str, typer.Argument(help="A run folder, a run's name, or `last`.")],
) -> None:
    """Open the app on a run: as it goes, or how it went."""
    report = shlex.join(["ptune", "report", run])
    require_terminal(f"`ptune runs` says how runs go, `{report}` how this one went.")
    folder = find_run(run)
    training_config(folder)  # of an export or a curve there is nothing to show
    note_run(folder)
    _run(attach=folder)


def open_chat(bundle: Path) -> None:
    """Open the app on a bundle."""
    _run(bundle=bundle)


def _run(bundle: Path | None = None, attach: Path | None = None) -> None:
    from ptune_tui.tui.app import run_app

    outcome = run_app(bundle=bundle, attach=attach)
    for line in outcome.lines():
        say(line)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)
