"""`ptune export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ptune_tui.bundles import check_prompt_name
from ptune_tui.cli.talk import say
from ptune_tui.cli.work import make_display, work
from ptune_tui.errors import UsageError
from ptune_tui.jobs import new_task_folder
from ptune_tui.run_prompt import require_prompt
from ptune_tui.runs import find_run
from ptune_tui.tasks import ExportFormat, ExportPrecision, ExportTask, FloatType


def export(
    run: Annotated[str, typer.Argument(help="A run folder, a run's name, or `last`.")],
    out: Annotated[Path | None, typer.Option(help="The new folder.")] = None,
    into: Annotated[
        Path | None, typer.Option(help="A bundle on the same base, to add the prompt to.")
    ] = None,
    name: Annotated[str, typer.Option(help="What to call the prompt in the bundle.")] = "prompt",
    precision: Annotated[
        ExportPrecision,
        typer.Option(
            help="What the bundle answers in; `auto`: the fastest here of those that pass the "
            "gate. With `--into`: as before, where the prompt passes in it."
        ),
    ] = "auto",
    format_: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="`bundle`: for `ptune run`, `chat`, `serve` and ONNX Runtime GenAI; `onnx`: "
            "one graph with the prompt inside, for any program with onnxruntime; `gguf`: for "
            "llama.cpp and Ollama; `transformers`: a model folder.",
        ),
    ] = "bundle",
    dtype: Annotated[
        FloatType, typer.Option(help="Of the weights of `--format transformers`.")
    ] = "float32",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an export, or with `--into` a prompt.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Export on other weights than it was trained on.")
    ] = False,
    display: Annotated[
        Literal["plain", "json", "none"], typer.Option(help="`json` writes the events to stdout.")
    ] = "plain",
) -> None:
    """Write a run's model and prompt as a bundle, add it to one, or write it for other programs."""
    check_prompt_name(name)
    _check_format(format_, into, precision, dtype)
    if (out is None) == (into is None):
        raise UsageError(
            "An export needs one place to go to.",
            "`--out FOLDER` writes a new one, `--into BUNDLE` adds the prompt to a bundle.",
        )
    bundle = out or into
    assert bundle is not None
    folder = find_run(run)
    require_prompt(folder)
    if out is not None:
        _check_is_free(out, overwrite=overwrite)
    task = ExportTask(
        run=str(folder.absolute()),
        destination=str(bundle.absolute()),
        prompt_name=name,
        precision=precision,
        overwrite=overwrite,
        force=force,
        is_addition=into is not None,
        format=format_,
        float_type=dtype,
    )
    try:
        work(new_task_folder("export"), task, make_display(display))
    except KeyboardInterrupt:
        from export.at_once import remove_unfinished

        # A worker that had to be killed took nothing away.
        remove_unfinished(bundle)
        raise
    if display == "plain":
        say("Next:")
        for line in _next_lines(format_, bundle, name if into else None):
            say(f"  {line}")


def _check_is_free(out: Path, *, overwrite: bool) -> None:
    """Refuse a taken place now, not after the model is read; the writer looks again.

    Raises:
        BundleError: Something is there that may not be replaced.
    """
    from export.errors import BundleError

    if out.exists() and not (overwrite and out.is_dir()):
        raise BundleError(
            f"{out} is already there.",
            "Name another folder, or replace an export of the same kind with `--overwrite`.",
        )


def _next_lines(format_: ExportFormat, folder: Path, added: str | None) -> list[str]:
    """What to do with an export; `added` is the prompt's name where it joined others."""
    if format_ == "gguf":
        return [
            f"llama-server -m {folder / 'model.gguf'}   # send chat messages",
            f"ollama create my-model -f {folder / 'Modelfile'}",
        ]
    if format_ == "onnx":
        return [f'python {folder / "answer.py"} "your text"   # needs onnxruntime and tokenizers']
    if format_ == "transformers":
        return [f"AutoModelForCausalLM.from_pretrained({str(folder)!r}), and its chat template"]
    chosen = f" --prompt {added}" if added else ""
    return [f'ptune run {folder} "your text"{chosen}', f"ptune chat {folder}{chosen}"]


def _check_format(
    format_: ExportFormat, into: Path | None, precision: ExportPrecision, dtype: FloatType
) -> None:
    """Refuse options that a format does not have.

    Raises:
        UsageError: Something was asked for that would be left out.
    """
    if format_ == "onnx" and precision == "throughput":
        raise UsageError(
            "The graph `throughput` is told where each token stands, so it is of bundles only.",
            "`--format onnx` takes `--precision auto`, `fast` or `exact`.",
        )
    has_precision = precision != "auto" and format_ != "onnx"
    if format_ != "bundle" and (into is not None or has_precision):
        option = "--into" if into is not None else "--precision"
        raise UsageError(
            f"`{option}` is of bundles; a folder of the format `{format_}` has one prompt and its "
            "own arithmetic.",
            "Leave it out, or leave out `--format`.",
        )
    if format_ != "transformers" and dtype != "float32":
        raise UsageError(
            f"`--dtype {dtype}` is of `--format transformers`; others keep the grid.",
            "Leave it out.",
        )
