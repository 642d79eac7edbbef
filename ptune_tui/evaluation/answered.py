"""The rows of a table side by side: what each line answers, and where two of them differ."""

from __future__ import annotations

from collections.abc import Sequence

from ptune_tui.results import AnsweredRow, Evaluation, Flip
from ptune_tui.rows import Row

MAX_ANSWERED_ROWS = 2000  # kept in a table: a megabyte of news


def answered_rows(
    rows: Sequence[Row], answers: Sequence[Sequence[str]], *, is_closed: bool
) -> list[AnsweredRow]:
    """The first rows with everybody's answers.

    Args:
        rows (Sequence[Row]): What was asked.
        answers (Sequence[Sequence[str]]): Of each line, one a row.
        is_closed (bool): Whether the answers are labels: then the one that is expected is right.
    """
    return [
        AnsweredRow(
            number,
            row.prompt,
            row.response,
            [line[number - 1] for line in answers],
            [] if is_closed else list(row.references),
        )
        for number, row in enumerate(rows[:MAX_ANSWERED_ROWS], start=1)
    ]


def rows_between(evaluation: Evaluation, before: str, after: str) -> list[Flip]:
    """All kept rows with the answers of two lines, whether they differ or not.

    Args:
        evaluation (Evaluation): The table.
        before (str): Title of a line.
        after (str): Of another.

    Raises:
        ValueError: The table has no such line.
    """
    titles = [line.title for line in evaluation.contenders]
    left, right = titles.index(before), titles.index(after)
    return [
        Flip(
            *(row.row, row.prompt, row.expected, row.answers[left], row.answers[right]),
            references=row.references,
        )
        for row in evaluation.answered
    ]


def flips_between(evaluation: Evaluation, before: str, after: str) -> list[Flip]:
    """Rows that two lines answer differently; of free text those that became right or wrong.

    Args:
        evaluation (Evaluation): The table.
        before (str): Title of a line.
        after (str): Of another.
    """
    if (before, after) == (evaluation.flips_from, evaluation.flips_to):
        return evaluation.flips  # all rows, not only those that are kept whole
    is_closed = evaluation.labels is not None
    return [
        flip
        for flip in rows_between(evaluation, before, after)
        if flip.before != flip.after and (is_closed or flip.is_gain or flip.is_loss)
    ]
