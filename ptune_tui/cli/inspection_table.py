"""What an inspection found, as lines of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ptune_tui.inspection import Inspection, PartScore, TokenFindings
from ptune_tui.inspection_words import left_out, left_out_alone, sentences, share

WIDTH = 80
_BAR = 24


def inspection_lines(found: Inspection) -> Iterator[str]:
    """Tokens, parts, layers, and a summary in sentences.

    Args:
        found (Inspection): What was found.
    """
    yield _head(found)
    yield ""
    yield from _tokens(found)
    if found.whole is not None and found.base is not None:
        yield ""
        yield from _parts(found, found.whole, found.base)
    if found.layers:
        yield ""
        yield from _layers(found)
    told = list(sentences(found))
    if told:
        yield ""
    for sentence in told:
        yield from textwrap.wrap(sentence, WIDTH)


def _head(found: Inspection) -> str:
    number = len(found.tokens)
    rows = f", on {found.num_rows} rows" if found.data else ""
    kind = "keys and values a layer" if found.has_layers else "virtual tokens"
    return f"{found.model}: {number} {kind}{rows}"


def _tokens(found: Inspection) -> Iterator[str]:
    """A line a virtual token."""
    heads = ["keys", "values"] if found.has_layers else ["norm"]
    if found.layers:
        heads += ["text", "answer"]
    alone = left_out_alone(found)
    if alone:
        heads += _change_heads(found)
    line = f"{'token':>5} " + " ".join(f"{head:>8}" for head in heads)
    yield line if found.has_layers else f"{line}  nearest, by cosine"
    for number, token in enumerate(found.tokens):
        values = [token.key_norm, token.value_norm] if found.has_layers else [token.norm]
        cells = [_number(value) for value in values if value is not None]
        if found.layers:
            cells += [share(token.attention_text), share(token.attention_answer)]
        if alone and found.whole is not None:
            cells += _changes(alone[number], found.whole)
        line = f"{number:>5} " + " ".join(f"{cell:>8}" for cell in cells)
        yield line if found.has_layers else _with_nearest(line, token)
    if found.has_layers:
        yield "keys, values: norms over the mean norm of text tokens'; mean of the layers"
    else:
        yield f"norm: over the vocabulary's mean norm, {found.vocabulary_norm:.3g}"
    if found.layers:
        yield "text, answer: share of their attention; mean of tokens, heads, layers, rows"
    if alone:
        yield "d.: what leaving this token out changes"


def _with_nearest(line: str, token: TokenFindings) -> str:
    for near in token.nearest:
        more = f"  {near.text!r} {near.cosine:.2f}"
        if len(line) + len(more) > WIDTH:
            break
        line += more
    return line


def _parts(found: Inspection, whole: PartScore, base: PartScore) -> Iterator[str]:
    """Scores of parts of the prompt."""
    heads = ["accuracy", "loss"] if whole.accuracy is not None else ["loss"]
    yield f"{'kept':<24}" + " ".join(f"{head:>8}" for head in [*heads, *_change_heads(found)])
    named = [("all", whole), ("none (the base)", base)]
    named += [(_first(len(part.kept)), part) for part in found.first]
    if not left_out_alone(found):
        named += [(_all_but(found, part), part) for part in found.without]
    for name, part in named:
        scores = [] if part.accuracy is None else [f"{part.accuracy:.3f}"]
        cells = [*scores, f"{part.loss:.3f}", *_changes(part, whole)]
        yield f"{name:<24}" + " ".join(f"{cell:>8}" for cell in cells)


def _layers(found: Inspection) -> Iterator[str]:
    """What all virtual tokens together get in each layer, as bars."""
    yield f"{'layer':>5} {'text':>7} {'':<{_BAR}} {'answer':>7}"
    for number, layer in enumerate(found.layers):
        text, answer = layer.attention_text or 0.0, layer.attention_answer or 0.0
        yield (
            f"{number:>5} {share(text):>7} {_bar(text):<{_BAR}} {share(answer):>7} {_bar(answer)}"
        ).rstrip()


def _all_but(found: Inspection, part: PartScore) -> str:
    return f"all but {left_out(found, part)}"


def _first(number: int) -> str:
    return "the first one" if number == 1 else f"the first {number}"


def _change_heads(found: Inspection) -> list[str]:
    has_labels = found.whole is not None and found.whole.accuracy is not None
    return ["d.acc", "d.loss"] if has_labels else ["d.loss"]


def _changes(part: PartScore, whole: PartScore) -> list[str]:
    loss = f"{part.loss - whole.loss:+.3f}"
    if part.accuracy is None or whole.accuracy is None:
        return [loss]
    return [f"{part.accuracy - whole.accuracy:+.3f}", loss]


def _number(value: float) -> str:
    return f"{value:.2f}"


def _bar(share: float) -> str:
    return "#" * round(share * _BAR)
