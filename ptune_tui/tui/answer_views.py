"""Texts and what was answered to them, side by side, as lines of text. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from math import ceil

from rich.cells import cell_len
from textual.content import Content

from ptune_tui.events import TextAnswered
from ptune_tui.tui.compare_state import AnswersState, AskedText
from ptune_tui.tui.wording import one_line, seconds_text

_MAX_LABELS = 2
_TITLE_WIDTH = 21
_MIN_COLUMN_WIDTH = 28  # cells; a text in less is hard to read
_BETWEEN = " │ "


def answer_lines(
    texts: Sequence[AskedText], state: AnswersState | None, is_active: bool, width: int = 0
) -> Iterator[Content]:
    """All texts, the latest last.

    Args:
        texts (Sequence[AskedText]): What was asked.
        state (AnswersState | None): Of the worker that answers; None before the first.
        is_active (bool): Whether it still works.
        width (int): Cells there are for answers beside each other; 0 puts each below the other.
    """
    for asked in texts:
        yield Content.styled(f"> {one_line(asked.text)}", "bold")
        num_columns = _num_columns(len(asked.answers), width)
        if num_columns > 1 and any(_is_long(answer.answer) for answer in asked.answers):
            yield from _columns(asked.answers, num_columns, width)
        else:
            for answer in asked.answers:
                yield from _answer(answer)
        if not asked.is_answered:
            yield Content.styled(_unanswered(asked, state, is_active), "dim")
        yield Content("")


def _num_columns(num_answers: int, width: int) -> int:
    """As few rows as there is room for, and these as even as can be; 0 where there is no room."""
    room = (width - 1 + len(_BETWEEN)) // (_MIN_COLUMN_WIDTH + len(_BETWEEN))
    return ceil(num_answers / ceil(num_answers / room)) if room > 0 and num_answers else 0


def _is_long(answer: str) -> bool:
    """Whether an answer needs more than a line beside its title."""
    return "\n" in answer or len(answer) > 2 * _TITLE_WIDTH


def _answer(answer: TextAnswered) -> Iterator[Content]:
    """A label in one line with its rivals, or a text below its title."""
    title = f" {answer.title:<{_TITLE_WIDTH}.{_TITLE_WIDTH}} "
    if answer.error:
        yield Content.assemble(title, (f"✗ {answer.error}", "$text-error"))
        return
    time = milliseconds_text(answer.seconds)
    if _is_long(answer.answer):
        yield Content.assemble(title, (f"{time:>7}  {answer.computed_by}", "dim"))
        yield from (Content(f"    {line}") for line in answer.answer.splitlines())
        return
    text = answer.answer or "(nothing)"
    yield Content.assemble(title, (f"{time:>7}  ", "dim"), (text, "bold"), _rivals(answer))


def _columns(answers: Sequence[TextAnswered], num_columns: int, width: int) -> Iterator[Content]:
    """Texts beside each other, as many in a row as there is room for."""
    column_width = (width - len(_BETWEEN) * (num_columns - 1) - 1) // num_columns
    for first in range(0, len(answers), num_columns):
        if first:
            yield Content("")
        row = [_column(answer, column_width) for answer in answers[first : first + num_columns]]
        for cells in zip_longest(*row, fillvalue=Content("")):
            padded = [cell.pad_right(column_width - cell_len(cell.plain)) for cell in cells]
            yield Content(" ") + Content.styled(_BETWEEN, "dim").join(padded)


def _column(answer: TextAnswered, width: int) -> list[Content]:
    """Who answers, in what time, and the text below it, in lines of one width."""
    time = milliseconds_text(answer.seconds)
    title_width = width - len(time) - 2
    title = Content.assemble(
        (f"{answer.title:<{title_width}.{title_width}}", "bold"), (f"  {time}", "dim")
    )
    if answer.error:
        return [
            Content.styled(f"{answer.title:.{width}}", "bold"),
            *Content.styled(f"✗ {answer.error}", "$text-error").wrap(width),
        ]
    lines = (answer.answer or "(nothing)").splitlines()
    return [title, *(part for line in lines for part in Content(line).wrap(width))]


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


def _unanswered(asked: AskedText, state: AnswersState | None, is_active: bool) -> str:
    """What a text waits for, or why nothing more comes."""
    if state is None or asked not in state.texts.values():
        return "- not answered"
    if is_active:
        return _waiting(state)
    return "- stopped" if state.is_cancelled else "✗ not answered: the worker failed"


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
