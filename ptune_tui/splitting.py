"""Rows that are held out for validation where none are given: as many of each label as it has."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ptune_tui.errors import DataError
from ptune_tui.rows import Row, num_held_out


def split(rows: list[Row], labels: Sequence[str] | None, seed: int) -> tuple[list[Row], list[Row]]:
    """Hold a tenth of the rows out, at least one; both parts keep the rows' order.

    Of each label as large a part is held out as of all rows, to one row, and at least one row stays
    for training. Where the responses are free text, any rows are held out. Rows of the same prompt
    stay together, unless all have the same; with labels they stay in training where those differ.

    Args:
        rows (list[Row]): All rows.
        labels (Sequence[str] | None): The closed set of responses, or None for free text.
        seed (int): Of the choice.

    Raises:
        DataError: There is only one row, or every prompt has several labels.
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
    groups = {numbers[0]: numbers for numbers in of_prompt.values()}
    if len(groups) == 1:
        groups = {number: [number] for number in range(len(rows))}
    order = list(groups)
    random.Random(seed).shuffle(order)
    wanted = num_held_out(len(order))
    if labels is not None:
        order = [first for first in order if len({rows[n].response for n in groups[first]}) == 1]
    if not order:
        raise DataError(
            f"{rows[0].source} has no prompt to spare for validation: each of its {len(groups)} "
            "prompts has several labels.",
            "Add rows, or name a validation file with `--validation`.",
        )
    chosen = order[:wanted] if labels is None else _stratified(rows, order, wanted)
    held_out = {number for first in chosen for number in groups[first]}
    train = [row for number, row in enumerate(rows) if number not in held_out]
    return train, [row for number, row in enumerate(rows) if number in held_out]


def _stratified(rows: Sequence[Row], order: Sequence[int], wanted: int) -> list[int]:
    """Numbers of the rows to hold out, the first of each label in a shuffled order."""
    of_label: dict[str, list[int]] = {}
    for number in order:
        of_label.setdefault(rows[number].response, []).append(number)
    groups = list(of_label.values())
    shares = held_out_counts([len(group) for group in groups], wanted)
    chosen = [
        number for group, share in zip(groups, shares, strict=True) for number in group[:share]
    ]
    # Where no label has a row to spare, one of them has to do without.
    return chosen or list(order[:1])


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
