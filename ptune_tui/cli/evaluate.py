"""`ptune eval`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from ptune_tui.bundles import is_bundle
from ptune_tui.cli.answer import PrecisionName
from ptune_tui.cli.evaluation_checks import check_places, check_request
from ptune_tui.cli.evaluation_request import (
    EvaluationRequest,
    command_line,
    parse_baselines,
)
from ptune_tui.cli.talk import say
from ptune_tui.errors import UsageError
from ptune_tui.evaluation.columns import Columns
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.results import Evaluation
from ptune_tui.runs import find_run

if TYPE_CHECKING:
    from ptune_tui.cli.scores import Lines

_USUAL: tuple[ContenderKey, ...] = ("base", "instruction", "few_shot")


def evaluate(
    target: Annotated[str, typer.Argument(help="A run (torch) or a bundle (onnxruntime).")],
    data: Annotated[
        str | None,
        typer.Option(
            help="Rows with responses, or a built-in set; left out: a run's validation rows."
        ),
    ] = None,
    baselines: Annotated[
        str | None,
        typer.Option(
            help="What stands beside it: base, instruction, few-shot, bundle, lora with commas, "
            "or all, or none; left out: the first three."
        ),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option(
            help="Above each row; with {prompt} in it, the whole template. Left out: proposed "
            "from the labels."
        ),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(help="Of few-shot; left out: one a label, 8 to 100.", min=1),
    ] = None,
    train: Annotated[
        str | None, typer.Option(help="Rows for examples and LoRA; left out: the run's.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="The run's bundle; left out: exported for the table.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="A second run or bundle; rows that differ are listed.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Which of a bundle's prompts.")] = None,
    base: Annotated[bool, typer.Option("--base", help="Short for `--baselines base`.")] = False,
    prompt_field: Annotated[str | None, typer.Option(help="Name of the input column.")] = None,
    response_field: Annotated[str | None, typer.Option(help="Name of the answer column.")] = None,
    max_rows: Annotated[int | None, typer.Option(help="Only the first rows.", min=1)] = None,
    calibration: Annotated[
        bool | None,
        typer.Option(help="Score every label, for calibration; left out: up to 20 labels."),
    ] = None,
    forgetting: Annotated[
        bool | None,
        typer.Option(help="What the prompt does to other texts; left out: where the base is."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the examples and of LoRA.", min=0)] = 0,
    lora_seconds: Annotated[
        float | None, typer.Option(help="LoRA's time; left out: what the run trained.", min=0.1)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the table here; left out: into the run's folder.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Write each row's answer to this JSONL file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown on stdout.")] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="What each line was given, classes, rows that flip."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Score a run on other weights than it was trained on.")
    ] = False,
    precision: Annotated[PrecisionName | None, typer.Option(help="Of a bundle.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of a bundle; 0: all cores.")] = 0,
) -> None:
    """Score a run or a bundle on a file, beside what one could have without it."""
    if base and baselines:
        raise UsageError("`--base` and `--baselines` were both given.", "Leave one of them out.")
    named = "base" if base else baselines
    chosen: tuple[ContenderKey, ...] = () if against else _USUAL
    if named is not None:
        chosen = parse_baselines(named, of_bundle=is_bundle(target))
    elif bundle is not None:
        chosen = (*chosen, "bundle")
    request = EvaluationRequest(
        data=data,
        baselines=chosen,
        is_named=named is not None,
        columns=Columns(prompt_field, response_field),
        max_rows=max_rows,
        bundle=bundle,
        prompt=prompt,
        precision=precision,
        num_threads=threads,
        instruction=None if instruction is None else instruction.replace("\\n", "\n"),
        num_examples=examples,
        train=train,
        seed=seed,
        with_probabilities=calibration,
        with_forgetting=forgetting,
        lora_seconds=lora_seconds,
        force=force,
        is_quiet=as_json,
    )
    check_places(out, predictions)
    check_request(target, against, request)
    evaluation = _evaluation(target, against, request, predictions)
    if out is not None:
        _write(out, evaluation)
    elif against is None and not is_bundle(target):
        is_quick = max_rows is not None or not chosen
        _keep(evaluation, find_run(target), is_quick=is_quick)
    if as_json:
        typer.echo(msgspec.json.encode(evaluation).decode())
    elif markdown:
        from ptune_tui.evaluation.markdown import markdown_lines

        typer.echo("\n".join(markdown_lines(evaluation)))
    else:
        _print(evaluation, verbose=verbose, lists_flips=against is not None)


def _evaluation(
    target: str, against: str | None, request: EvaluationRequest, predictions: Path | None
) -> Evaluation:
    from ptune_tui.cli.scores import answer_lines
    from ptune_tui.evaluation.assembly import Answered, assemble
    from ptune_tui.evaluation.bootstrap import Resamples
    from ptune_tui.results import finite
    from ptune_tui.run_table import prompt_hash

    # Before the scoring: of a run that trains on meanwhile, the table then counts as an older one.
    scored = "" if is_bundle(target) else prompt_hash(find_run(target))
    lines = answer_lines(target, request)
    contenders, flips_from = lines.contenders, ""
    if against is not None:
        alone = replace(request, baselines=(), with_forgetting=False)
        other = answer_lines(against, alone).target_answers
        if any(line.title == other.title for line in contenders):
            other = msgspec.structs.replace(other, title=f"{other.title}: {Path(against).name}")
        contenders, flips_from = [*contenders, other], other.title
    elif "base" in request.baselines:
        flips_from = next(line.title for line in contenders if line.key == "base")
    if predictions:
        _write_predictions(predictions, lines)
    answered = Answered(
        lines.name,
        lines.data,
        lines.rows,
        lines.labels,
        contenders,
        lines.target,
        flips_from,
        lines.forgetting,
        lines.notes,
        command_line(),
        lines.split_seed,
    )
    made = assemble(answered, Resamples(len(lines.rows)))
    return finite(msgspec.structs.replace(made, prompt_hash=scored))


def _keep(evaluation: Evaluation, run: Path, *, is_quick: bool) -> None:
    """Keep the table with its run and in the adapter's card, unless a fuller one is there."""
    from ptune_tui.table_keeping import keep_table

    for sentence in keep_table(run, evaluation, is_quick=is_quick):
        is_left_out = sentence.startswith("not written")
        say(f"{sentence} To write this one, name a file with `--out`." if is_left_out else sentence)


def _write(path: Path, evaluation: Evaluation) -> None:
    from ptune_tui.results import write_result

    write_result(path, evaluation)
    say(f"written: {path}")


def _print(evaluation: Evaluation, *, verbose: bool, lists_flips: bool) -> None:
    # numpy comes with them, and every command would wait for it.
    from ptune_tui.evaluation.table import (
        detail_lines,
        flip_lines,
        heading,
        summary_lines,
        table_lines,
    )

    typer.echo(heading(evaluation))
    typer.echo("Scores of 100, with 95 % intervals.")
    typer.echo("")
    for line in table_lines(evaluation):
        typer.echo(line)
    typer.echo("")
    for line in summary_lines(evaluation):
        typer.echo(line)
    if verbose:
        typer.echo("")
        for line in detail_lines(evaluation):
            typer.echo(line)
    elif lists_flips:
        for line in flip_lines(evaluation):
            typer.echo(line)


def _write_predictions(path: Path, lines: Lines) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row, answer in zip(lines.rows, lines.target_answers.answers, strict=True):
            record = {"prompt": row.prompt, "expected": row.response, "answer": answer}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
