"""`ptune bench run`: answering beside other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ptune_tui.answering_speed import (
    MEASURES,
    RIVALS,
    SIDES,
    AnsweringSetting,
    AnsweringSpeed,
    Measure,
)
from ptune_tui.cli.answering_table import answering_table
from ptune_tui.cli.work import make_display, work
from ptune_tui.command_line import read_template
from ptune_tui.errors import UsageError
from ptune_tui.jobs import new_task_folder
from ptune_tui.tasks import RESULT_FILE, BenchRunTask

_DEFAULT = AnsweringSetting()


def run(
    model: Annotated[
        str, typer.Option(help="A folder, GGUF file, hub id, or `default`.")
    ] = _DEFAULT.model,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Of this model; left out, one is made and thrown away."),
    ] = None,
    data: Annotated[
        str, typer.Option(help="Texts to read and rows to score by two of their responses.")
    ] = _DEFAULT.data,
    only: Annotated[
        str | None,
        typer.Option(
            help=f"Measures ({', '.join(MEASURES)}) and contenders ({', '.join(SIDES)}, or one: "
            f"ptune:fast, {', '.join(':'.join(rival) for rival in RIVALS)}), separated by commas.",
            show_default="all",
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(help="Rows that are scored; beyond all of them they are repeated.", min=1)
    ] = _DEFAULT.num_rows,
    new_tokens: Annotated[
        int, typer.Option(help="Tokens that are decoded.", min=1)
    ] = _DEFAULT.num_new_tokens,
    prefill: Annotated[str, typer.Option(help="Lengths of the prompts that are read.")] = ",".join(
        map(str, _DEFAULT.prefill_lengths)
    ),
    rounds: Annotated[int, typer.Option(help="Rounds that count.", min=1)] = _DEFAULT.num_rounds,
    threads: Annotated[
        int, typer.Option(help="Processor threads; 0: all cores.", min=0)
    ] = _DEFAULT.num_threads,
    template: Annotated[str | None, typer.Option(help="How a row becomes text.")] = None,
    prompt_field: Annotated[
        str | None, typer.Option(help="Name of the input column; left out: recognised.")
    ] = None,
    response_field: Annotated[str, typer.Option(help="Name of the answer column.")] = "response",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure answering beside ONNX Runtime GenAI, llama.cpp and transformers.

    Same base, threads and tokens; the contenders take turns, measure by measure, each in a process
    of its own, and the median counts. What is not installed is listed with the reason.
    """
    from ptune_tui.data import builtin_names

    measures, contenders = _chosen(only)
    setting = AnsweringSetting(
        model=model,
        bundle=None if bundle is None else str(bundle.absolute()),
        data=data if data in builtin_names() else str(Path(data).absolute()),
        num_rows=rows,
        num_new_tokens=new_tokens,
        prefill_lengths=_lengths(prefill),
        num_rounds=rounds,
        num_threads=threads,
        measures=measures,
        contenders=contenders,
        template=None if template is None else read_template(template),
        prompt_field=prompt_field,
        response_field=response_field,
    )
    folder = new_task_folder("bench-run")
    work(folder, BenchRunTask(setting), make_display("none" if as_json else "plain"))
    content = (folder / RESULT_FILE).read_bytes()
    if as_json:
        typer.echo(content.decode())
        return
    for line in answering_table(msgspec.json.decode(content, type=AnsweringSpeed)):
        typer.echo(line)


def _chosen(only: str | None) -> tuple[tuple[Measure, ...], tuple[str, ...]]:
    """The measures and the contenders of `--only`.

    Raises:
        UsageError: A name is neither.
    """
    names = [] if only is None else [name.strip() for name in only.split(",")]
    measures = tuple(measure for measure in MEASURES if measure in names)
    contenders = tuple(dict.fromkeys(name for name in names if name not in MEASURES))
    known = (*SIDES, *map(":".join, RIVALS))
    for name in contenders:
        # Which graphs of ours there are is up to the bundle.
        if name not in known and not name.startswith("ptune:"):
            raise UsageError(
                f"`--only` has {name!r}, which is no measure and no contender.",
                f"Measures: {', '.join(MEASURES)}; contenders: {', '.join(known)}.",
            )
    return measures or MEASURES, contenders


def _lengths(text: str) -> tuple[int, ...]:
    """The numbers of `--prefill`.

    Raises:
        UsageError: It has something else.
    """
    lengths = [part.strip() for part in text.split(",")]
    for length in lengths:
        if not length.isdecimal() or int(length) < 1:
            raise UsageError(
                f"`--prefill` has {length!r}, which is no number of tokens.",
                "For example `--prefill 128,512`.",
            )
    return tuple(dict.fromkeys(map(int, lengths)))
