"""`ptune inspect`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from ptune_tui.bundles import is_bundle
from ptune_tui.cli.inspection_table import inspection_lines
from ptune_tui.cli.work import make_display, work
from ptune_tui.command_line import read_template, written_template
from ptune_tui.errors import UsageError
from ptune_tui.inspection import Inspection, without_rows
from ptune_tui.jobs import new_task_folder
from ptune_tui.run_prompt import ADAPTER_CONFIG_FILE, ADAPTER_FOLDER
from ptune_tui.runs import find_run
from ptune_tui.tasks import CONFIG_FILE, RESULT_FILE, InspectTask

Kind = Literal["run", "adapter", "bundle"]


class _AdapterType(msgspec.Struct):
    """What is read of an adapter's file here."""

    peft_type: str = ""


def inspect_prompt(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|ADAPTER|BUNDLE", help="A run, a PEFT adapter's folder, or a bundle."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Rows to look at it on; left out: a run's validation rows."),
    ] = None,
    rows: Annotated[int, typer.Option(help="At most so many rows.", min=1)] = 100,
    top: Annotated[int, typer.Option(help="Nearest tokens of each virtual one.", min=1)] = 5,
    model: Annotated[
        str | None,
        typer.Option(help="Of an adapter or a bundle; left out: the one that it names."),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Which of a bundle's prompts.")] = None,
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

    folder, kind = _prompt_folder(target)
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
        prompt=prompt,
    )
    check(task, kind)
    check_rows(task, kind)
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


def _prompt_folder(target: str) -> tuple[Path, Kind]:
    """The folder and what it is; the adapter of a run means the run."""
    path = Path(target).expanduser()
    if is_bundle(path):
        return path, "bundle"
    if not (path / ADAPTER_CONFIG_FILE).is_file():
        return find_run(target), "run"
    is_of_run = path.name == ADAPTER_FOLDER and (path.parent / CONFIG_FILE).is_file()
    return (path.parent, "run") if is_of_run else (path, "adapter")


def check(task: InspectTask, kind: Kind) -> None:
    """Refuse options that nothing would read.

    Args:
        task (InspectTask): What was asked for.
        kind (Kind): What its target is.

    Raises:
        UsageError: There is one.
    """
    if task.prompt is not None and kind != "bundle":
        raise UsageError(
            "`--prompt` was given, but only a bundle has prompts by name.", "Leave it out."
        )
    if kind == "bundle" and task.template is not None:
        raise UsageError(
            "`--template` was given, but a bundle knows what its prompt was trained with.",
            "Leave it out.",
        )
    if kind == "bundle" and task.data is None and (task.model is not None or task.force):
        raise UsageError(
            f"`{'--model' if task.model else '--force'}` was given, but without rows a bundle is "
            "looked at alone.",
            "Name rows with `--data`, or leave it out.",
        )
    if kind == "run" and task.model is not None:
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


def check_rows(task: InspectTask, kind: Kind) -> None:
    """Refuse keys and values without rows, before torch is loaded to say so.

    Args:
        task (InspectTask): What was asked for.
        kind (Kind): What its target is.

    Raises:
        DataError: The prompt cannot be looked at alone.
        BundleError: The bundle is damaged, or has no such prompt.
    """
    if task.data is not None or kind == "run":
        return
    folder = Path(task.target)
    if kind == "bundle":
        from export.bundle import named_record, read_manifest

        _, record = named_record(folder, read_manifest(folder), task.prompt)
        if record.kind == "layer prefix":
            raise without_rows(f"The prompt of {folder}")
    elif _peft_type(folder) == "PREFIX_TUNING":
        raise without_rows(f"The adapter in {folder}")


def _peft_type(folder: Path) -> str:
    """What PEFT calls an adapter; empty where its file is damaged, which the worker tells."""
    try:
        found = msgspec.json.decode((folder / ADAPTER_CONFIG_FILE).read_bytes(), type=_AdapterType)
    except msgspec.DecodeError:
        return ""
    return found.peft_type


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
        "--prompt": task.prompt,
    }
    for option, value in options.items():
        words += [] if value is None else [option, value]
    return shlex.join([*words, "--force"] if task.force else words)
