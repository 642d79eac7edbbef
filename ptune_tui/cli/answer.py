"""`ptune run` and `ptune chat`: answers from a bundle, without torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ptune_tui.cli.answer_form import JsonObjectOption, JsonSchemaOption, form_of
from ptune_tui.cli.talk import say
from ptune_tui.errors import UsageError
from ptune_tui.tasks import write_atomically

if TYPE_CHECKING:
    from export.answering import Answerer, LabelAnswer
    from export.constraint import Constraint
    from export.encoding import Request
    from export.sampling import Sampling

PrecisionName = Literal["fast", "exact", "throughput"]
BundleArgument = Annotated[Path, typer.Argument(help="A bundle's folder.")]
PromptOption = Annotated[str | None, typer.Option(help="Which of the bundle's prompts.")]
PrecisionOption = Annotated[
    PrecisionName | None, typer.Option(help="Left out: the bundle's own choice.")
]
ThreadsOption = Annotated[int, typer.Option(help="Processor threads; 0: all cores.", min=0)]
SpinOption = Annotated[
    bool,
    typer.Option(
        "--spin/--no-spin",
        help="Threads burn their core while they wait within an answer: faster; without, kinder "
        "to what runs beside.",
    ),
]

_CHUNK_TEXTS = 128  # scored together, then written
_CUT = "note: text {} was too long; it was cut from the left."


@dataclass(frozen=True)
class Writing:
    """How free answers are written.

    Attributes:
        max_new_tokens: The longest one.
        sampling: How tokens are chosen.
        stop: Strings that end one.
        constraint: What each has to look like.
    """

    max_new_tokens: int
    sampling: Sampling
    stop: tuple[str, ...]
    constraint: Constraint | None


def run(
    bundle: BundleArgument,
    text: Annotated[str | None, typer.Argument(help="The text to answer.")] = None,
    prompt: PromptOption = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", help="A text a line, or a data file or data set.")
    ] = None,
    output_file: Annotated[
        Path | None, typer.Option("--output", help="Left out: standard output.")
    ] = None,
    prompt_field: Annotated[
        str | None, typer.Option(help="Name of the texts' column; left out: recognised.")
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Leave the soft prompt out.")] = False,
    generate: Annotated[
        bool, typer.Option("--generate", help="Write freely, even where there are labels.")
    ] = False,
    max_new_tokens: Annotated[int, typer.Option(help="Longest free answer in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(help="0: the most likely token.")] = 0.0,
    top_k: Annotated[int, typer.Option(help="Most likely tokens to choose from; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Share of probability to choose from.")] = 1.0,
    min_p: Annotated[
        float, typer.Option(help="Least probability, as a share of the most likely token's.")
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option(help="Makes tokens that were there already less likely; 1: no.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the random choices.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text that ends a free answer; repeat for more.")
    ] = None,
    json_schema: JsonSchemaOption = None,
    json_object: JsonObjectOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an answer.")] = False,
    precision: PrecisionOption = None,
    threads: ThreadsOption = 0,
    spin: SpinOption = True,
) -> None:
    """Answer one text, a file of texts, or standard input."""
    from export.runtime import Bundle
    from export.sampling import Sampling

    if text is not None and input_file is not None:
        raise UsageError("A text and `--input` were both given.", "Give one of them.")
    if text is not None and not text.strip():
        raise UsageError("The text to answer is empty.", "Give one, or `--input FILE`.")
    if max_new_tokens < 1:
        raise UsageError(
            f"`--max-new-tokens {max_new_tokens}` leaves no room for an answer.", "Give 1 or more."
        )
    opened = Bundle.open(bundle, precision, threads, spin)
    answerer = opened.base(prompt) if base else opened.tuned(prompt)
    texts = _texts(text)
    if input_file is not None:
        from ptune_tui.cli.answer_input import requests_in

        texts = requests_in(input_file, prompt_field, answerer)
    # The base was never held to the labels; asked for JSON, it writes.
    is_written = generate or (base and (json_schema is not None or json_object))
    is_scored = answerer.record.labels is not None and not is_written
    writing = Writing(
        max_new_tokens,
        Sampling(temperature, top_k, top_p, min_p, repetition_penalty, seed),
        tuple(stop or ()),
        form_of(answerer, json_schema, is_object=json_object, is_scored=is_scored),
    )
    if is_scored:
        lines = _labels(answerer, texts, as_json=as_json)
    else:
        lines = _texts_written(answerer, texts, writing, as_json=as_json)
    if output_file:
        # Whole or absent: a file that was there is not lost to an error halfway.
        write_atomically(output_file, "".join(lines).encode())
        return
    for piece in lines:
        typer.echo(piece, nl=False)


def chat(
    bundle: BundleArgument,
    prompt: PromptOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = 0,
    spin: SpinOption = True,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Lines in and out; so does any option but the bundle."),
    ] = False,
) -> None:
    """Talk to a bundle: base beside tuned."""
    is_plain = plain or prompt is not None or precision is not None or threads != 0 or not spin
    from ptune_tui.cli.app import missing_terminal, open_chat

    if not is_plain and missing_terminal() is None:
        open_chat(bundle)
        return
    from export.runtime import Bundle

    opened = Bundle.open(bundle, precision, threads, spin)
    speakers = {"base": opened.base(prompt), "tuned": opened.tuned(prompt)}
    if sys.stdin.isatty():
        say("One text a line; an empty line or Ctrl-D ends.")
    for line in sys.stdin:
        if not line.strip():
            return
        for name, answerer in speakers.items():
            typer.echo(f"{name}: {answerer.answer(line.rstrip())}")


def _texts(text: str | None) -> Iterable[Request]:
    """The text to answer, or the lines of standard input as they come."""
    if text is not None:
        return [text]
    return (line.rstrip("\n") for line in sys.stdin)


def _labels(answerer: Answerer, texts: Iterable[Request], *, as_json: bool) -> Iterator[str]:
    """The labels' lines; texts that are all there are scored together."""
    from ptune_tui.evaluation.contenders import scores_all_labels

    number = num_empty = 0
    assert answerer.record.labels is not None
    has_shares = as_json and scores_all_labels(answerer.record.labels, asked=None)
    for some in _chunks(texts):
        asked = [text for text in some if not _is_empty(text)]
        found_here = answerer.classify_rows(asked, with_all_scores=has_shares) if asked else ()
        answers = iter(found_here)
        for text in some:
            number += 1
            if _is_empty(text):
                num_empty += 1
                yield _label_line(text, None) if as_json else "\n"
                continue
            found = next(answers)
            yield _label_line(text, found) if as_json else f"{found.label}\n"
            if found.was_cut:
                say(_CUT.format(number))
    _say_empty(num_empty, number)


def _label_line(text: Request, found: LabelAnswer | None) -> str:
    """An answer as JSON, or that there was nothing to answer.

    `probability` is the label's among all labels, as in the app, where there are up to 20 of them;
    `log_probability` that of its tokens and the end token among all texts.
    """
    from export.labels import label_probabilities

    if found is None:
        return _line(prompt=text, answer="", probability=None, log_probability=None)
    scores = found.all_scores
    return _line(
        prompt=text,
        answer=found.label,
        probability=float(label_probabilities(scores).max()) if scores else None,
        log_probability=found.log_probability,
    )


def _is_empty(text: Request) -> bool:
    return isinstance(text, str) and not text.strip()


def _say_empty(num_empty: int, number: int) -> None:
    """Say where there was nothing to answer: each line has its own line in the output."""
    if not number:
        say("note: there was no text to answer.")
    elif num_empty:
        lines = "line was" if number == 1 else "lines were"
        say(f"note: {num_empty} of {number} {lines} empty, and so are the answers to them.")


def _chunks(texts: Iterable[Request]) -> Iterator[list[Request]]:
    """Lists of texts: longer where they do not come in one by one."""
    if not isinstance(texts, list):
        yield from ([text] for text in texts)
        return
    for start in range(0, len(texts), _CHUNK_TEXTS):
        yield texts[start : start + _CHUNK_TEXTS]


def _texts_written(
    answerer: Answerer, texts: Iterable[Request], writing: Writing, *, as_json: bool
) -> Iterator[str]:
    """The free answers' lines, piece by piece."""
    number = num_empty = 0
    for number, text in enumerate(texts, start=1):
        if _is_empty(text):
            num_empty += 1
            yield _line(prompt=text, answer="", finish_reason="empty") if as_json else "\n"
            continue
        answer = answerer.generate(
            text, writing.max_new_tokens, writing.sampling, writing.stop, writing.constraint
        )
        if as_json:
            content = "".join(answer)  # before the reason is read: it is known at the end
            yield _line(prompt=text, answer=content, finish_reason=answer.finish_reason)
        else:
            yield from answer
            yield "\n"
        if answer.finish_reason == "length" and len(answer.tokens) < writing.max_new_tokens:
            say(f"note: answer {number} ends where the model's context does.")
        if answerer.was_cut:
            say(_CUT.format(number))
    _say_empty(num_empty, number)


def _line(**values: object) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
