"""Which training rows a few-shot prompt shows: seeded, as even over the labels as they go."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ptune_tui.rows import Row

MIN_EXAMPLES = 8
MAX_EXAMPLES = 100


def default_num_examples(labels: Sequence[str] | None) -> int:
    """One of each label, at least eight and at most a hundred."""
    return min(MAX_EXAMPLES, max(MIN_EXAMPLES, len(labels or ())))


def unscored(train: Sequence[Row], scored: Sequence[Row]) -> list[Row]:
    """Training rows that are not among those scored: an example would give the answer away.

    Args:
        train (Sequence[Row]): Rows to choose from.
        scored (Sequence[Row]): What will be asked.
    """
    asked = {(row.prompt, answer) for row in scored for answer in row.right_answers}
    return [row for row in train if (row.prompt, row.response) not in asked]


def overlap_notes(scored: Sequence[Row], train: Sequence[Row], whose: str) -> list[str]:
    """What to say where rows that are scored were trained on.

    Args:
        scored (Sequence[Row]): What is asked.
        train (Sequence[Row]): What is trained on.
        whose (str): What trains on them, within a sentence.
    """
    count = len(scored) - len(unscored(scored, train))
    if not count:
        return []
    return [f"{count} of the {len(scored)} scored rows are also training rows of {whose}."]


def choose_examples(
    rows: Sequence[Row], labels: Sequence[str] | None, num_examples: int, seed: int
) -> list[Row]:
    """Rows to show, in the order in which they are shown.

    Labels take turns, so that cutting the list keeps it even.

    Args:
        rows (Sequence[Row]): Training rows.
        labels (Sequence[str] | None): The closed set, or None for free text.
        num_examples (int): How many; fewer where there are fewer rows.
        seed (int): Of the choice and of the order.
    """
    generator = random.Random(seed)
    shuffled = generator.sample(list(rows), len(rows))
    if labels is None:
        return shuffled[:num_examples]
    of_label: dict[str, list[Row]] = {label: [] for label in labels}
    for row in shuffled:
        of_label[row.response].append(row)
    chosen: list[Row] = []
    while len(chosen) < min(num_examples, len(rows)):
        # Each turn in an order of its own: always the same one would be a pattern to continue.
        turn = [of_label[label].pop() for label in labels if of_label[label]]
        generator.shuffle(turn)
        chosen += turn
    return chosen[:num_examples]
