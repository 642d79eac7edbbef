"""The confusion matrix: expected labels by answered ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_LABELS = 16
_NUM_CONFUSIONS = 10
_OTHERS = "{} other labels"


@dataclass(frozen=True)
class Cell:
    """A field: its rows, their share of the expected label's, and whether they are right."""

    num_rows: int
    share: float
    is_right: bool


@dataclass(frozen=True)
class Confused:
    """A pair of labels that was confused."""

    expected: str
    answered: str
    num_rows: int
    share: float


@dataclass(frozen=True)
class Matrix:
    """A matrix.

    Attributes:
        title: Whose answers.
        labels: Of its rows and columns.
        cells: Expected by answered.
        num_merged: Labels that the last row and column stand for; 0 for none.
        confusions: The pairs that were confused most.
    """

    title: str
    labels: list[str]
    cells: list[list[Cell]]
    num_merged: int
    confusions: list[Confused]


def confusion_matrix(title: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Matrix:
    """The matrix as it is drawn; of many labels the most confused are kept and the rest is one.

    Args:
        title (str): Whose answers.
        labels (Sequence[str]): All of them.
        counts (Sequence[Sequence[int]]): Rows, expected by answered, in the order of the labels.
    """
    names, table, num_merged = list(labels), [list(row) for row in counts], 0
    if len(names) > MAX_LABELS:
        kept = _most_confused(counts, MAX_LABELS - 1)
        num_merged = len(names) - len(kept)
        table = _merged(counts, kept)
        names = [names[number] for number in kept] + [_OTHERS.format(num_merged)]
    cells = []
    for number, row in enumerate(table):
        total = sum(row)
        is_merged = num_merged > 0 and number == len(names) - 1
        cells.append(
            [
                Cell(count, count / total if total else 0.0, not is_merged and number == column)
                for column, count in enumerate(row)
            ]
        )
    return Matrix(title, names, cells, num_merged, _confusions(labels, counts))


def _most_confused(counts: Sequence[Sequence[int]], number: int) -> list[int]:
    """The labels with the most wrong rows, expected or answered, in their own order."""
    size = range(len(counts))
    wrong = {
        label: sum(counts[label])
        + sum(counts[other][label] for other in size)
        - 2 * counts[label][label]
        for label in size
    }
    return sorted(sorted(size, key=lambda label: -wrong[label])[:number])


def _merged(counts: Sequence[Sequence[int]], kept: Sequence[int]) -> list[list[int]]:
    """The counts of some labels, and of all others together as the last row and column."""
    rest = [number for number in range(len(counts)) if number not in set(kept)]
    groups = [[number] for number in kept] + [rest]
    return [
        [sum(counts[row][column] for row in rows for column in columns) for columns in groups]
        for rows in groups
    ]


def _confusions(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[Confused]:
    pairs = [
        Confused(labels[row], labels[column], count, count / sum(counts[row]))
        for row in range(len(labels))
        for column, count in enumerate(counts[row])
        if row != column and count
    ]
    return sorted(pairs, key=lambda pair: -pair.num_rows)[:_NUM_CONFUSIONS]
