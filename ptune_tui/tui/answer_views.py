"""Texts and what was answered to them, side by side, as lines of text. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.content import Content

from ptune_tui.events import TextAnswered
from ptune_tui.tui.compare_state import AnswersState, AskedText
from ptune_tui.tui.wording import one_line, seconds_text

_MAX_LABELS = 2
_TITLE_WIDTH = 21


def answer_lines(
    texts: Sequence[AskedText], state: AnswersState | None, is_active: bool
) -> Iterator[Content]:
    """All texts, the latest last.

    Args:
        texts (Sequence[AskedText]): What was asked.
        state (AnswersState | None): Of the worker that answers; None before the first.
        is_active (bool): Whether it still works.
    """
    for asked in texts:
        yield Content.styled(f"> {one_line(asked.text)}", "bold")
        for answer in asked.answers:
            yield from _answer(answer)
        if not asked.is_answered:
            waits = is_active and state is not None and asked in state.texts.values()
            yield Content.styled(_waiting(state) if waits and state else "- stopped", "dim")
        yield Content("")


def _answer(answer: TextAnswered) -> Iterator[Content]:
    """A label in one line with its rivals, or a text below its title."""
    title = f" {answer.title:<{_TITLE_WIDTH}.{_TITLE_WIDTH}} "
    if answer.error:
        yield Content.assemble(title, (f"✗ {answer.error}", "$text-error"))
        return
    time = milliseconds_text(answer.seconds)
    if "\n" in answer.answer or len(answer.answer) > 2 * _TITLE_WIDTH:
        yield Content.assemble(title, (f"{time:>7}  {answer.computed_by}", "dim"))
        yield from (Content(f"    {line}") for line in answer.answer.splitlines())
        return
    text = answer.answer or "(nothing)"
    yield Content.assemble(title, (f"{time:>7}  ", "dim"), (text, "bold"), _rivals(answer))


def _rivals(answer: TextAnswered) -> Content:
    """How likely the answer is, and the label that comes next."""
    ranked = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])[:_MAX_LABELS]
    if not ranked:
        return Content("")
    words = [
        f"{100 * share:.0f} %" if label == answer.answer else f"{label} {100 * share:.0f}"
        for label, share in ranked
    ]
    return Content.styled("  " + " · ".join(words), "dim")


def _waiting(state: AnswersState) -> str:
    """What a text waits for."""
    load = state.task.stages.get("load")
    if load is None:
        return "  ▸ starting..."
    if load.status == "running":
        far = f" {100 * load.done // load.total} %" if load.total else ""
        return f"  ▸ loading{far}..."
    return "  ▸ answering..."


def milliseconds_text(seconds: float) -> str:
    """What an answer took: `12 ms`, `1.4 s`."""
    return f"{1000 * seconds:.0f} ms" if seconds < 0.9995 else seconds_text(seconds)
