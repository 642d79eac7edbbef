"""The commands, and the one place where an error becomes a sentence and an exit code."""

from __future__ import annotations

import io
import sys
from typing import Annotated, cast

import typer

from ptune_tui import __version__
from ptune_tui.cli import (
    answer,
    bench,
    data,
    demo,
    estimate,
    evaluate,
    export,
    listing,
    report,
    serve,
    train,
)
from ptune_tui.cli import learning_curve as curve
from ptune_tui.cli.app import attach, open_app
from ptune_tui.cli.inspect_prompt import inspect_prompt
from ptune_tui.cli.talk import say
from ptune_tui.errors import PTuneError, explain

app = typer.Typer(
    name="ptune",
    help="Train soft prompts on a frozen 4-bit model, export them to ONNX, answer on a CPU.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


# typer exports the errors of its command lines only through this one subclass of theirs.
_CommandLineError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ptune {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Without a command: the terminal app."""
    if context.invoked_subcommand is None:
        open_app()


app.command()(demo.demo)
app.command()(train.train)
app.command()(attach)
app.command(name="learning-curve")(curve.learning_curve)
app.command()(estimate.estimate)
app.command(name="eval")(evaluate.evaluate)
app.command(name="inspect")(inspect_prompt)
app.command()(report.report)
app.command()(export.export)
app.command()(answer.run)
app.command()(answer.chat)
app.command()(serve.serve)
app.command()(listing.models)
app.command()(listing.runs)
app.command()(listing.doctor)
app.add_typer(data.data)
app.add_typer(bench.bench)


def main() -> None:
    """Run the command line; never returns."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # Windows would take its own code page, which cannot hold most of the world's texts.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
    try:
        code = app(standalone_mode=False)
    except typer.Exit as leave:
        code = leave.exit_code
    except _CommandLineError as error:
        # typer quotes the library that checks its values.
        error.message = error.message.replace("Value error, ", "")
        error.show(sys.stderr)
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        say("Interrupted.")
        code = 130
    except BrokenPipeError:
        # The reader of our output has gone, as in `ptune runs | head`.
        sys.stderr.close()
        code = 0
    except Exception as error:
        reason = explain(error)
        say(f"error: {reason}")
        if reason.category == "fault" and not isinstance(error, PTuneError):
            import traceback

            traceback.print_exception(error)
        code = reason.exit_code
    sys.exit(code if isinstance(code, int) else 0)
