"""Rows that are held out for validation where none are given: as many of each label as it has."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from ptune_tui.errors import DataError
from ptune_tui.rows import Row, num_held_out


def split(rows: list[Row], labels: Sequence[str] | None, seed: int) -> tuple[list[Row], list[Row]]:
    """Hold a tenth of the rows out, at least one; both parts keep the rows' order.

    Of each label as large a part is held out as of all rows, to one row, and at least one row stays
    for training. Where the responses are free text, any rows are held out. Rows of the same prompt
    stay together, and in training where their labels differ, unless no prompt can be spared so.

    Args:
        rows (list[Row]): All rows.
        labels (Sequence[str] | None): The closed set of responses, or None for free text.
        seed (int): Of the choice.

    Raises:
        DataError: There is only one row.
    """
    if len(rows) < 2:
        raise DataError(
            f"{rows[0].source} has one row, and one more is needed to validate.",
            "Add rows, or name a validation file with `--validation`.",
        )
    of_prompt: dict[object, list[int]] = {}
    for number, row in enumerate(rows):
        of_prompt.setdefault((row.prompt, row.turns), []).append(number)
    # A prompt is chosen by its first row, and the others follow it.
    by_prompt = {numbers[0]: numbers for numbers in of_prompt.values()}
    by_row = {number: [number] for number in range(len(rows))}
    held_out = _held_out(rows, by_prompt, labels, seed) or _held_out(rows, by_row, labels, seed)
    # Where no label has a row to spare, one of them has to do without.
    held_out = held_out or {random.Random(seed).randrange(len(rows))}
    train = [row for number, row in enumerate(rows) if number not in held_out]
    return train, [row for number, row in enumerate(rows) if number in held_out]


def _held_out(
    rows: Sequence[Row], groups: Mapping[int, list[int]], labels: Sequence[str] | None, seed: int
) -> set[int]:
    """Numbers of the rows to hold out, whole groups; none where no group can be spared."""
    order = list(groups)
    random.Random(seed).shuffle(order)
    wanted = num_held_out(len(order))
    if labels is None:
        chosen = order[:wanted] if len(order) > 1 else []
    else:
        of_one_label = [
            first
            for first in order
            if len({rows[number].response for number in groups[first]}) == 1
        ]
        chosen = _stratified(rows, of_one_label, wanted) if of_one_label else []
    return {number for first in chosen for number in groups[first]}


def _stratified(rows: Sequence[Row], order: Sequence[int], wanted: int) -> list[int]:
    """Numbers of the rows to hold out, the first of each label in a shuffled order."""
    of_label: dict[str, list[int]] = {}
    for number in order:
        of_label.setdefault(rows[number].response, []).append(number)
    groups = list(of_label.values())
    shares = held_out_counts([len(group) for group in groups], wanted)
    return [number for group, share in zip(groups, shares, strict=True) for number in group[:share]]


def held_out_counts(counts: Sequence[int], wanted: int) -> list[int]:
    """How many rows of each label are held out: in proportion, the largest remainders rounded up.

    Args:
        counts (Sequence[int]): Rows of each label.
        wanted (int): Rows to hold out; fewer come out where labels have only one.
    """
    total = sum(counts)
    exact = [count * wanted / total for count in counts]
    shares = [min(int(share), count - 1) for share, count in zip(exact, counts, strict=True)]
    by_remainder = sorted(range(len(counts)), key=lambda label: shares[label] - exact[label])
    while sum(shares) < wanted:
        spare = [label for label in by_remainder if shares[label] < counts[label] - 1]
        if not spare:
            break
        for label in spare[: wanted - sum(shares)]:
            shares[label] += 1
    return shares
