"""`ptune demo`: from nothing to a tuned answer on the CPU, on the built-in support inbox."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptune_tui.bundles import is_bundle
from ptune_tui.cli.display import minutes
from ptune_tui.cli.evaluation_request import EvaluationRequest
from ptune_tui.cli.listing import fetch_default_model
from ptune_tui.cli.talk import say
from ptune_tui.cli.work import make_display, require_training_extra, work
from ptune_tui.config import DataConfig, MethodConfig, RunConfig, TrainingConfig
from ptune_tui.errors import EXIT_CODES, UsageError
from ptune_tui.events import EvaluationDone, TaskFinished
from ptune_tui.jobs import new_task_folder
from ptune_tui.metrics import accuracy
from ptune_tui.paths import runs_folder
from ptune_tui.tasks import ExportTask, TrainTask, new_folder

if TYPE_CHECKING:
    from ptune_tui.cli.scores import Lines

DATA = "support_inbox"
CONFIG = RunConfig(
    data=DataConfig(train=DATA),
    method=MethodConfig(name="prefix"),
    training=TrainingConfig(max_steps=200, batch_size=16, evaluate_every=50),
)
QUESTION = "you billed my card two times this month"
_SPEED_TOKENS = 64


def demo(
    out: Annotated[
        Path, typer.Option(help="Where to put the bundle; replaced if it is there.")
    ] = Path("ptune-demo"),
    max_steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = 200,
) -> None:
    """Train, evaluate, export and answer, with the default model and built-in data."""
    from ptune_tui.config import override

    require_training_extra()
    check_destination(out)
    started = time.perf_counter()
    say(
        "A support inbox: message -> one of six teams. A soft prompt is trained for it on the "
        "frozen 4-bit default model, exported to ONNX, and answers here, offline."
    )
    fetch_default_model()
    run = new_folder(runs_folder(), "demo")
    say("\n1. Train")
    config = override(CONFIG, {"training.max_steps": max_steps})
    events = work(run, TrainTask(config), make_display("plain"))
    last = events[-1]
    if isinstance(last, TaskFinished) and last.stopped_early:
        say(f"Stopped. `ptune export {run} --out {out}` goes on from here.")
        raise typer.Exit(EXIT_CODES["interrupted"])
    say("\n2. Export")
    task = ExportTask(str(run), str(out.absolute()), "support", overwrite=True)
    work(new_task_folder("export"), task, make_display("plain"))
    say("\n3. Answer with onnxruntime")
    from ptune_tui.cli.scores import answer_lines

    shipped = answer_lines(str(out), EvaluationRequest(data=DATA, with_probabilities=False))
    evaluations = [event for event in events if isinstance(event, EvaluationDone)]
    _report(out, run, evaluations, shipped, time.perf_counter() - started)


def check_destination(out: Path) -> None:
    """Refuse a taken folder now, not after minutes of training.

    Raises:
        UsageError: Something other than a bundle is there.
    """
    if out.exists() and not is_bundle(out):
        raise UsageError(
            f"{out} is there already and is no bundle.", "Name another folder with `--out`."
        )


def _report(
    out: Path, run: Path, evaluations: list[EvaluationDone], shipped: Lines, seconds: float
) -> None:
    from export.bundle import total_bytes
    from export.runtime import Bundle
    from export.speed import decode_tokens_per_second

    base = [event for event in evaluations if not event.tuned][-1]
    best = [event for event in evaluations if event.is_best][-1]
    bundle = Bundle.open(out)
    expected = [row.response for row in shipped.rows]
    share = accuracy(expected, shipped.target_answers.answers)
    tuned = bundle.tuned()
    speed = decode_tokens_per_second(tuned, QUESTION, _SPEED_TOKENS)
    rows = f"on {base.num_rows} validation messages"
    typer.echo("")
    typer.echo(f"base accuracy             {base.accuracy:.3f}  {rows}")
    typer.echo(f"tuned, torch              {best.accuracy:.3f}")
    typer.echo(f"tuned, onnxruntime        {share:.3f}  ({bundle.precision})")
    typer.echo(f"bundle                    {total_bytes(out) / 1e6:.0f} MB  {out}")
    typer.echo(f"decoding                  {speed:.0f} tokens/s")
    typer.echo(f"in all                    {minutes(seconds)}")
    typer.echo(f"\n{QUESTION!r}\n  -> {tuned.answer(QUESTION)}")
    typer.echo("\nNext:")
    typer.echo(f'  ptune run {out} "my parcel says delivered but the porch is empty"')
    typer.echo(f"  ptune chat {out}")
    typer.echo(f"  ptune eval {out} --data {DATA} --against {run}")
    typer.echo("  ptune train --data home_commands     # free text: a command -> its JSON")
    typer.echo("  ptune                                # the terminal app")
