"""`ptune inspect`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ptune_tui.cli.inspection_table import inspection_lines
from ptune_tui.cli.work import make_display, work
from ptune_tui.command_line import read_template, written_template
from ptune_tui.errors import UsageError
from ptune_tui.inspection import Inspection
from ptune_tui.jobs import new_task_folder
from ptune_tui.runs import find_run
from ptune_tui.tasks import RESULT_FILE, InspectTask

_ADAPTER_FILE = "adapter_config.json"


def inspect_prompt(
    target: Annotated[
        str, typer.Argument(metavar="RUN|ADAPTER", help="A run, or a PEFT adapter's folder.")
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Rows to look at it on; left out: a run's validation rows."),
    ] = None,
    rows: Annotated[int, typer.Option(help="At most so many rows.", min=1)] = 100,
    top: Annotated[int, typer.Option(help="Nearest tokens of each virtual one.", min=1)] = 5,
    model: Annotated[
        str | None, typer.Option(help="Of an adapter; left out: the one that it names.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="How a row becomes text, for another program's adapter.")
    ] = None,
    prompt_field: Annotated[str | None, typer.Option(help="Name of the input column.")] = None,
    response_field: Annotated[str | None, typer.Option(help="Name of the answer column.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="On other weights than it was trained on.")
    ] = False,
) -> None:
    """Look at a trained prompt.

    Its nearest tokens, its norms, the attention that it gets, and what its parts are worth.
    """
    from ptune_tui.data import data_path
    from ptune_tui.reading.source import absolute

    folder = _prompt_folder(target)
    path = None if data is None else absolute(data_path(data).as_posix())
    task = InspectTask(
        target=str(folder.absolute()),
        command="",
        model=model,
        data=path,
        template=None if template is None else read_template(template),
        prompt_field=prompt_field,
        response_field=response_field,
        num_rows=rows,
        num_nearest=top,
        force=force,
    )
    check(task, is_run=not (folder / _ADAPTER_FILE).is_file())
    task = msgspec.structs.replace(task, command=command_of(task))
    task_folder = new_task_folder("inspect")
    work(task_folder, task, make_display("none" if as_json else "plain"))
    content = (task_folder / RESULT_FILE).read_bytes()
    found = msgspec.json.decode(content, type=Inspection)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for line in inspection_lines(found):
        typer.echo(line)


def _prompt_folder(target: str) -> Path:
    """The run's or the adapter's folder; the adapter of a run means the run."""
    path = Path(target).expanduser()
    if not (path / _ADAPTER_FILE).is_file():
        return find_run(target)
    is_of_run = path.name == "adapter" and (path.parent / "config.toml").is_file()
    return path.parent if is_of_run else path


def check(task: InspectTask, *, is_run: bool) -> None:
    """Refuse options that nothing would read.

    Args:
        task (InspectTask): What was asked for.
        is_run (bool): Whether its target is a run; else it is an adapter.

    Raises:
        UsageError: There is one.
    """
    if is_run and task.model is not None:
        raise UsageError(
            "`--model` was given, but a run says itself what it was trained on.",
            "Leave it out, or name an adapter's folder.",
        )
    of_rows = {
        "--template": task.template,
        "--prompt-field": task.prompt_field,
        "--response-field": task.response_field,
    }
    for option, value in of_rows.items():
        if value is not None and task.data is None:
            raise UsageError(
                f"`{option}` was given, but no rows that it is about.",
                "Name them with `--data`, or leave it out.",
            )


def command_of(task: InspectTask) -> str:
    r"""What makes it again; a line break in a template is `\n` on a command line.

    Args:
        task (InspectTask): What was asked for.
    """
    words = ["ptune", "inspect", task.target, "--rows", str(task.num_rows)]
    words += ["--top", str(task.num_nearest)]
    template = None if task.template is None else written_template(task.template)
    options = {
        "--data": task.data,
        "--model": task.model,
        "--template": template,
        "--prompt-field": task.prompt_field,
        "--response-field": task.response_field,
    }
    for option, value in options.items():
        words += [] if value is None else [option, value]
    return shlex.join([*words, "--force"] if task.force else words)
