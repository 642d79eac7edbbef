"""What an inspection comes to, in sentences, for the command line and the report."""

from __future__ import annotations

from collections.abc import Iterator

from ptune_tui.inspection import Inspection, PartScore

_AS_GOOD = 0.01  # nats of loss


def sentences(found: Inspection) -> Iterator[str]:
    """Who attends to the prompt, which part it needs most, and whether a shorter one would do.

    Args:
        found (Inspection): What was found.
    """
    if found.layers:
        text = sum(token.attention_text or 0.0 for token in found.tokens)
        answer = [token.attention_answer or 0.0 for token in found.tokens]
        most = max(range(len(answer)), key=lambda number: answer[number])
        yield (
            f"The prompt gets {share(text)} of the text's attention and {share(sum(answer))} of "
            f"the answer's, most of it token {most} ({share(answer[most])} of the answer's)."
        )
    whole = found.whole
    if whole is None or not found.without:
        return
    worst = max(found.without, key=lambda part: part.loss)
    yield f"Most is lost without {left_out(found, worst)}: {_fall(worst, whole)}."
    enough = [part for part in found.first if part.loss <= whole.loss + _AS_GOOD]
    if enough:
        few = len(enough[0].kept)
        yield f"The first {few} alone answer these rows about as well: a shorter prompt may do."


def left_out_alone(found: Inspection) -> list[PartScore]:
    """The parts without one token, one a token; none where they were left out in groups."""
    return list(found.without) if len(found.without) == len(found.tokens) else []


def left_out(found: Inspection, part: PartScore) -> str:
    """Which tokens a part lacks."""
    missing = sorted(set(range(len(found.tokens))) - set(part.kept))
    if len(missing) == 1:
        return f"token {missing[0]}"
    return f"tokens {missing[0]} to {missing[-1]}"


def share(value: float | None) -> str:
    """A share of attention; nothing where none was measured."""
    return "" if value is None else f"{100 * value:.1f} %"


def _fall(part: PartScore, whole: PartScore) -> str:
    loss = f"the loss goes from {whole.loss:.3f} to {part.loss:.3f}"
    if part.accuracy is None or whole.accuracy is None:
        return loss
    return f"{loss}, accuracy from {whole.accuracy:.3f} to {part.accuracy:.3f}"
