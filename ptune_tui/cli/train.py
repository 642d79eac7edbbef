"""`ptune train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ptune_tui import config as configuration
from ptune_tui.cli.display import minutes
from ptune_tui.cli.talk import say
from ptune_tui.cli.work import make_display, work
from ptune_tui.config import Initialisation, Kernel, RunConfig, Scheme, Scoring
from ptune_tui.errors import EXIT_CODES, UsageError
from ptune_tui.events import EvaluationDone, Event, TaskFinished
from ptune_tui.paths import runs_folder
from ptune_tui.tasks import TASK_FILE, TrainTask, new_folder, with_absolute_paths

DisplayName = Literal["full", "plain", "json", "none"]


def train(
    config: Annotated[Path | None, typer.Argument(help="A configuration file (TOML).")] = None,
    model: Annotated[
        str | None, typer.Option(help="`default`, a model folder, a GGUF file or a hub id.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Training rows: a JSONL or CSV file, or a built-in set.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="Validation rows.")] = None,
    template: Annotated[
        str | None, typer.Option(help="Text with {prompt} and {response}, or `chat`.")
    ] = None,
    method: Annotated[Literal["prompt"] | None, typer.Option(help="What is trained.")] = None,
    num_virtual_tokens: Annotated[
        int | None, typer.Option(help="Length of the soft prompt.")
    ] = None,
    init: Annotated[
        Initialisation | None, typer.Option(help="Where the first values come from.")
    ] = None,
    init_text: Annotated[str | None, typer.Option(help="The text of `--init text`.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak rate, in units of the vocabulary's deviation.")
    ] = None,
    evaluate_every: Annotated[int | None, typer.Option(help="Steps between validations.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest row in tokens.")] = None,
    scoring: Annotated[
        Scoring | None, typer.Option(help="`labels`: a closed set; `text`: free text.")
    ] = None,
    prompt_field: Annotated[str | None, typer.Option(help="Name of the input column.")] = None,
    response_field: Annotated[str | None, typer.Option(help="Name of the answer column.")] = None,
    scheme: Annotated[Scheme | None, typer.Option(help="Grid for float checkpoints.")] = None,
    kernel: Annotated[Kernel | None, typer.Option(help="How 4-bit products are computed.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random choice.")] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads; 0: all cores.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder.")] = None,
    display: Annotated[
        DisplayName, typer.Option(help="`full` opens the app; `json` writes the events to stdout.")
    ] = "plain",
) -> None:
    """Train a soft prompt."""
    chosen = configuration.load(config) if config else RunConfig()
    chosen = configuration.override(
        chosen,
        {
            "model.source": model,
            "model.scheme": scheme,
            "model.kernel": kernel,
            "data.train": data,
            "data.validation": validation,
            "data.template": _unescaped(template),
            "data.prompt_field": prompt_field,
            "data.response_field": response_field,
            "data.max_tokens": max_tokens,
            "data.scoring": scoring,
            "method.name": method,
            "method.num_virtual_tokens": num_virtual_tokens,
            "method.init": init,
            "method.init_text": init_text,
            "training.max_steps": max_steps,
            "training.batch_size": batch_size,
            "training.learning_rate": learning_rate,
            "training.evaluate_every": evaluate_every,
            "training.seed": seed,
            "training.num_threads": threads,
        },
    )
    chosen = with_absolute_paths(chosen)
    if out is not None and (out / TASK_FILE).exists():
        raise UsageError(
            f"{out} holds a run already.", "Name another folder with `--out`, or remove that one."
        )
    folder = out or new_folder(runs_folder(), Path(chosen.data.train).stem)
    if display == "full":
        from ptune_tui.cli.app import open_training

        open_training(folder, chosen)
        return
    events = work(folder, TrainTask(chosen), make_display(display))
    if display == "plain":
        for line in summary_lines(folder, events):
            say(line)
    finished = events[-1]
    if isinstance(finished, TaskFinished) and finished.stopped_early:
        raise typer.Exit(EXIT_CODES["interrupted"])


def summary_lines(folder: Path, events: list[Event]) -> list[str]:
    """What a finished run came to, and the next commands to try."""
    finished = events[-1]
    assert isinstance(finished, TaskFinished)
    scores = [event for event in events if isinstance(event, EvaluationDone)]
    base = next((event.accuracy for event in reversed(scores) if not event.tuned), None)
    tuned = finished.summary.get("accuracy")
    lines = [""]
    if tuned is not None and base is not None:
        lines.append(
            f"Accuracy {base:.3f} without, {float(tuned):.3f} with the soft prompt "
            f"(step {finished.summary['best_step']}), in {minutes(finished.seconds)}."
        )
    else:
        lines.append("Stopped before anything was saved.")
        return lines
    return [
        *lines,
        f"Run: {folder}",
        "Next:",
        f"  ptune export {folder} --out {folder.name}-bundle",
        f"  ptune eval {folder} --data FILE",
    ]


def _unescaped(template: str | None) -> str | None:
    r"""Let `\n` on a command line mean a line break."""
    return None if template is None else template.replace("\\n", "\n")
