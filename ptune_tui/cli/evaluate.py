"""`ptune eval`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ptune_tui.cli.answer import PrecisionName
from ptune_tui.cli.scores import Columns, TargetScores, flips, is_bundle, score_bundle, score_run
from ptune_tui.cli.talk import ProgressLine, say
from ptune_tui.cli.work import make_display
from ptune_tui.errors import DataError

_SHOWN_FLIPS = 20


def evaluate(
    target: Annotated[str, typer.Argument(help="A run (torch) or a bundle (onnxruntime).")],
    data: Annotated[str, typer.Option(help="Rows with responses, or a built-in set.")],
    against: Annotated[
        str | None, typer.Option(help="A second run or bundle; rows that differ are listed.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Which of a bundle's prompts.")] = None,
    base: Annotated[
        bool, typer.Option("--base", help="Score without the soft prompt, too.")
    ] = False,
    prompt_field: Annotated[str | None, typer.Option(help="Name of the input column.")] = None,
    response_field: Annotated[str | None, typer.Option(help="Name of the answer column.")] = None,
    max_rows: Annotated[int | None, typer.Option(help="Only the first rows.", min=1)] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Write each row's answer to this JSONL file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Score a run on other weights than it was trained on.")
    ] = False,
    precision: Annotated[PrecisionName | None, typer.Option(help="Of a bundle.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of a bundle; 0: all cores.")] = 0,
) -> None:
    """Score a run or a bundle on a file."""
    columns = Columns(prompt_field, response_field)

    def score(name: str) -> TargetScores:
        if is_bundle(name):
            line = ProgressLine()
            found = score_bundle(
                name,
                data,
                columns,
                prompt=prompt,
                precision=precision,
                num_threads=threads,
                with_base=base,
                max_rows=max_rows,
                on_progress=line.show,
            )
            line.close()
            return found
        display = make_display("none" if as_json else "plain")
        return score_run(
            name,
            data,
            columns,
            with_base=base,
            max_rows=max_rows,
            force=force,
            display=display,
        )

    scores = score(target)
    other = score(against) if against else None
    if predictions:
        _write_predictions(predictions, scores)
    if as_json:
        typer.echo(json.dumps(_as_json(scores, other), ensure_ascii=False))
    else:
        _print(scores, other)


def _as_json(scores: TargetScores, other: TargetScores | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "target": scores.target,
        "computed_by": scores.computed_by,
        "accuracy": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "num_rows": len(scores.predictions),
        "seconds": scores.seconds,
    }
    if scores.base_accuracy is not None:
        found["base_accuracy"] = scores.base_accuracy
    if other is not None:
        found["against"] = _as_json(other, None)
        found["flips"] = [
            {
                "row": number + 1,
                **msgspec.to_builtins(scores.predictions[number]),
                "against": other.predictions[number].answer,
            }
            for number in _flips(scores, other)
        ]
    return found


def _print(scores: TargetScores, other: TargetScores | None) -> None:
    for item in (scores, other):
        if item is not None:
            f1 = "" if item.macro_f1 is None else f"  macro-F1 {item.macro_f1:.4f}"
            base = "" if item.base_accuracy is None else f"  base {item.base_accuracy:.4f}"
            typer.echo(
                f"{item.target} ({item.computed_by})  accuracy {item.accuracy:.4f}{f1}{base}  "
                f"{len(item.predictions)} rows  {len(item.predictions) / item.seconds:.1f} rows/s"
            )
    if other is None:
        return
    changed = _flips(scores, other)
    typer.echo(f"{len(changed)} of {len(scores.predictions)} rows differ.")
    for number in changed[:_SHOWN_FLIPS]:
        left, right = scores.predictions[number], other.predictions[number]
        typer.echo(
            f"  row {number + 1}: {left.answer!r} against {right.answer!r}, "
            f"expected {left.expected!r}: {left.prompt[:80]}"
        )
    if len(changed) > _SHOWN_FLIPS:
        say(f"  ... {len(changed) - _SHOWN_FLIPS} more; `--json` lists them all.")


def _flips(scores: TargetScores, other: TargetScores) -> list[int]:
    if len(scores.predictions) != len(other.predictions):
        raise DataError(
            f"The two targets were scored on {len(scores.predictions)} and "
            f"{len(other.predictions)} rows.",
            "Use the same data and `--max-rows` for both.",
        )
    return flips(scores.predictions, other.predictions)


def _write_predictions(path: Path, scores: TargetScores) -> None:
    with path.open("w", encoding="utf-8") as file:
        for prediction in scores.predictions:
            file.write(json.dumps(msgspec.to_builtins(prediction), ensure_ascii=False) + "\n")
