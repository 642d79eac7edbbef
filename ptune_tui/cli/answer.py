"""`ptune run` and `ptune chat`: answers from a bundle, without torch."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from ptune_tui.cli.talk import say
from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError, UsageError

if TYPE_CHECKING:
    from export.runtime import Answerer
    from export.sampling import Sampling

PrecisionName = Literal["fast", "exact"]
BundleArgument = Annotated[Path, typer.Argument(help="A bundle's folder.")]
PromptOption = Annotated[str | None, typer.Option(help="Which of the bundle's prompts.")]
PrecisionOption = Annotated[
    PrecisionName | None, typer.Option(help="Left out: the bundle's own choice.")
]
ThreadsOption = Annotated[int, typer.Option(help="Processor threads; 0: all cores.")]


def run(
    bundle: BundleArgument,
    text: Annotated[str | None, typer.Argument(help="The text to answer.")] = None,
    prompt: PromptOption = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", help="A text a line, or JSONL with `prompt`.")
    ] = None,
    output_file: Annotated[
        Path | None, typer.Option("--output", help="Left out: standard output.")
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Leave the soft prompt out.")] = False,
    generate: Annotated[
        bool, typer.Option("--generate", help="Write freely, even where there are labels.")
    ] = False,
    max_new_tokens: Annotated[int, typer.Option(help="Longest free answer in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(help="0: the most likely token.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Share of probability to choose from.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the random choices.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an answer.")] = False,
    precision: PrecisionOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Answer one text, a file of texts, or standard input."""
    from export.runtime import Bundle
    from export.sampling import Sampling

    texts = _texts(text, input_file)
    opened = Bundle.open(bundle, precision, threads)
    answerer = opened.base(prompt) if base else opened.tuned(prompt)
    sampling = Sampling(temperature, top_p, seed)
    scored = answerer.record.labels is not None and not generate
    out = output_file.open("w", encoding="utf-8") if output_file else sys.stdout
    try:
        for item in texts:
            if scored:
                _write_label(answerer, item, as_json, out)
            else:
                _write_text(answerer, item, max_new_tokens, sampling, as_json, out)
    finally:
        if output_file:
            out.close()


def chat(
    bundle: BundleArgument,
    prompt: PromptOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = 0,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines in and out instead of the app.")
    ] = False,
) -> None:
    """Talk to a bundle: base beside tuned."""
    if sys.stdin.isatty() and sys.stdout.isatty() and not plain:
        from ptune_tui.cli.app import open_chat

        open_chat(bundle)
        return
    from export.runtime import Bundle

    opened = Bundle.open(bundle, precision, threads)
    speakers = {"base": opened.base(prompt), "tuned": opened.tuned(prompt)}
    if sys.stdin.isatty():
        say("One text a line; an empty line or Ctrl-D ends.")
    for line in sys.stdin:
        if not line.strip():
            return
        for name, answerer in speakers.items():
            typer.echo(f"{name}: {answerer.answer(line.rstrip())}")


def _texts(text: str | None, path: Path | None) -> Iterator[str]:
    """The texts to answer: the argument, a file's lines, or standard input's."""
    if text is not None and path is not None:
        raise UsageError("A text and `--input` were both given.", "Give one of them.")
    if text is not None:
        yield text
        return
    if path is None:
        yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
        return
    if not path.is_file():
        raise DataError(f"There is no file {path}.", "Check the path.")
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if line.strip():
            yield _prompt_of(line, number, path) if path.suffix == ".jsonl" else line


def _prompt_of(line: str, number: int, path: Path) -> str:
    try:
        prompt = json.loads(line)[DataConfig().prompt_field]
    except (json.JSONDecodeError, KeyError, TypeError):
        prompt = None
    if not isinstance(prompt, str):
        raise DataError(
            f"{path}:{number}: this line has no text `prompt`.",
            'Each line is a JSON object such as {"prompt": "..."}.',
        )
    return prompt


def _write_label(answerer: Answerer, text: str, as_json: bool, out: IO[str]) -> None:
    found = answerer.classify(text)
    if as_json:
        record = {
            "prompt": text,
            "answer": found.label,
            "probability": math.exp(found.log_probability),
        }
        typer.echo(json.dumps(record, ensure_ascii=False), file=out)
    else:
        typer.echo(found.label, file=out)


def _write_text(
    answerer: Answerer,
    text: str,
    max_new_tokens: int,
    sampling: Sampling,
    as_json: bool,
    out: IO[str],
) -> None:
    pieces = answerer.generate(text, max_new_tokens, sampling)
    if as_json:
        record = {"prompt": text, "answer": "".join(pieces)}
        typer.echo(json.dumps(record, ensure_ascii=False), file=out)
        return
    for piece in pieces:
        typer.echo(piece, file=out, nl=False)
    typer.echo("", file=out)
