"""`ptune learning-curve`."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ptune_tui import config as configuration
from ptune_tui.cli import train_options as option
from ptune_tui.cli.display import PlainDisplay
from ptune_tui.cli.talk import say
from ptune_tui.cli.train import train, with_preset
from ptune_tui.cli.work import work
from ptune_tui.command_line import train_command
from ptune_tui.config import RunConfig, TrainingConfig
from ptune_tui.errors import EXIT_CODES, UsageError
from ptune_tui.events import TaskFinished
from ptune_tui.paths import curves_folder
from ptune_tui.results import LEARNING_CURVE_FILE, read_learning_curve
from ptune_tui.runs import find_run, run_config
from ptune_tui.tasks import (
    TASK_FILE,
    LearningCurveTask,
    new_folder,
    read_task,
    with_absolute_paths,
)

_STEPS_PER_LINE = 50
_WIDTH = 80
# Fields of `training`: each prompt is trained to its end, scored once and thrown away.
_MEANINGLESS = ("evaluate_every", "early_stopping", "save_every")


@option.with_settings(train, without=_MEANINGLESS)
def learning_curve(
    config: option.ConfigArgument = None,
    run: Annotated[
        str | None,
        typer.Option(help="Take the settings of this run, and put the curve in its folder, too."),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            help="Numbers of training rows, separated by commas; `all` for all of them.",
            show_default="16, 32, 64, ... up to all rows",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Orders of the rows that are tried; more show the scatter.", min=1)
    ] = 1,
    preset: option.Preset = None,
    out: Annotated[Path | None, typer.Option(help="The curve's folder.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Go on with a stopped curve: what it has is kept."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Points, fit and verdict as JSON on stdout.")
    ] = False,
    *,
    asked: dict[str, Any],
) -> None:
    """Train on more and more rows, and say what twice the data would give.

    Each size has the rows of the smaller ones in it, and the labels in the shares of the whole. All
    are trained for `--max-steps` and scored on the same validation rows.
    """
    if resume is not None:
        is_asked = any(value is not None for value in asked.values())
        if config or run or sizes or preset or out or seeds != 1 or is_asked:
            raise UsageError(
                "`--resume` takes all settings from the folder itself.", "Leave the others out."
            )
        folder, task = resume, _resumed(resume)
    else:
        task = _new_task(config, run, sizes, seeds, preset, asked)
        folder = _new_folder(task, out)
    events = work(folder, task, PlainDisplay(_STEPS_PER_LINE))
    curve = read_learning_curve(folder)
    if as_json and curve is not None:
        typer.echo(msgspec.json.encode(curve).decode())
    elif curve is not None:
        sentence = textwrap.wrap(curve.verdict, _WIDTH)
        # numpy comes with it, and every command would wait for it.
        from ptune_tui.cli.curve_chart import curve_chart, curve_table

        for line in ["", *curve_table(curve), "", *curve_chart(curve), "", *sentence]:
            typer.echo(line)
    say(f"Curve: {folder / LEARNING_CURVE_FILE}")
    finished = events[-1]
    if isinstance(finished, TaskFinished) and finished.stopped_early:
        say(f"To go on: ptune learning-curve --resume {folder}")
        raise typer.Exit(EXIT_CODES["interrupted"])


def _new_task(
    config: Path | None,
    run: str | None,
    sizes: str | None,
    num_seeds: int,
    preset: Any,
    asked: dict[str, Any],
) -> LearningCurveTask:
    from ptune_tui.data import load_data
    from ptune_tui.subsets import default_sizes, parse_sizes

    if config and run:
        raise UsageError("CONFIG and `--run` both name settings.", "Leave one of them out.")
    folder = find_run(run) if run else None
    chosen = configuration.load(config) if config else RunConfig()
    if folder is not None:
        chosen = _config_of(folder)
    chosen = option.with_changes(chosen, asked)
    if preset is not None:
        chosen = with_preset(chosen, preset, asked)
    chosen = with_absolute_paths(chosen)
    data = load_data(chosen.data, chosen.training.seed)
    num_rows = len(data.train)
    wanted = (
        default_sizes(num_rows, len(data.labels or ()))
        if sizes is None
        else parse_sizes(sizes, num_rows)
    )
    say(
        f"{len(wanted)} sizes of {num_rows:,} rows: {', '.join(f'{size:,}' for size in wanted)}"
        f"{f'; {num_seeds} seeds' if num_seeds > 1 else ''}"
    )
    return LearningCurveTask(
        config=chosen,
        sizes=wanted,
        command=command_of(chosen, wanted, num_seeds),
        num_seeds=num_seeds,
        run=None if folder is None else str(folder.absolute()),
    )


def command_of(config: RunConfig, sizes: list[int], num_seeds: int) -> str:
    """The command that makes a curve again, with options that it has alone.

    Args:
        config (RunConfig): Of each training.
        sizes (list[int]): Rows.
        num_seeds (int): Orders of the rows.
    """
    usual = TrainingConfig()
    changes: dict[str, Any] = {name: getattr(usual, name) for name in _MEANINGLESS}
    training = msgspec.structs.replace(config.training, **changes)
    settings = msgspec.structs.replace(config, training=training)
    command = f"{train_command(settings, 'learning-curve')} --sizes {','.join(map(str, sizes))}"
    return f"{command} --seeds {num_seeds}" if num_seeds > 1 else command


def _config_of(run: Path) -> RunConfig:
    config = run_config(run)
    if config is None:
        raise UsageError(
            f"{run} is not a training run: its {TASK_FILE} is missing or unreadable.",
            "`ptune runs` lists the runs.",
        )
    return config


def _new_folder(task: LearningCurveTask, out: Path | None) -> Path:
    if out is not None and (out / TASK_FILE).exists():
        raise UsageError(
            f"{out} holds a curve or a run already.",
            "Name another folder with `--out`, or go on with that curve: `--resume`.",
        )
    return out or new_folder(curves_folder(), Path(task.config.data.train).stem)


def _resumed(folder: Path) -> LearningCurveTask:
    try:
        task = read_task(folder)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        task = None
    if not isinstance(task, LearningCurveTask):
        raise UsageError(
            f"{folder} holds no learning curve: its {TASK_FILE} is missing or another one's.",
            "Begin one: `ptune learning-curve --data FILE`.",
        )
    return msgspec.structs.replace(task, resume=True)
