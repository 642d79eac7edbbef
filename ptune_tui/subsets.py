"""Which rows a learning curve trains on: nested subsets of one seeded order. Torch-free."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ptune_tui.errors import DataError, UsageError
from ptune_tui.rows import Row

SMALLEST = 16
# A doubling nearer to all rows than this would train twice on nearly the same rows.
_LAST_SHARE = 0.71


def nested_order(rows: Sequence[Row], labels: Sequence[str] | None, seed: int) -> list[int]:
    """Row numbers in an order whose every beginning has the labels in their shares of the whole.

    The rows of each label are shuffled and spread evenly over the order; free text is shuffled.

    Args:
        rows (Sequence[Row]): Training rows.
        labels (Sequence[str] | None): Their closed set of responses, or None for free text.
        seed (int): Of the shuffles.
    """
    generator = random.Random(seed)
    numbers = list(range(len(rows)))
    generator.shuffle(numbers)
    if labels is None:
        return numbers
    places: list[tuple[float, int, int]] = []
    for label in labels:
        own = [place for place, number in enumerate(numbers) if rows[number].response == label]
        # Labels with rows at the same share of their own come in the shuffle's order.
        places += [
            ((rank + 0.5) / len(own), place, numbers[place]) for rank, place in enumerate(own)
        ]
    return [number for _, _, number in sorted(places)]


def default_sizes(num_rows: int, num_labels: int) -> list[int]:
    """16 rows, twice as many, and so on up to all rows.

    Begins where there is a row for every label, and leaves out a doubling that is close to all.

    Args:
        num_rows (int): Training rows.
        num_labels (int): Labels; 0 for free text.
    """
    sizes = []
    size = SMALLEST
    while size < _LAST_SHARE * num_rows:
        if size >= num_labels:
            sizes.append(size)
        size *= 2
    return [*sizes, num_rows]


def parse_sizes(text: str, num_rows: int) -> list[int]:
    """The sizes that a user names, in rising order.

    Args:
        text (str): Numbers separated by commas; `all` stands for all rows.
        num_rows (int): Training rows.

    Raises:
        UsageError: A part is no number of rows.
        DataError: There are not so many rows.
    """
    sizes = set()
    for part in (part.strip() for part in text.split(",")):
        if part == "all":
            sizes.add(num_rows)
            continue
        if not part.isdecimal() or int(part) < 2:
            raise UsageError(
                f"`--sizes` has {part!r}, which is no number of rows.",
                "For example `--sizes 16,64,256,all`; the smallest is 2.",
            )
        sizes.add(int(part))
    if max(sizes) > num_rows:
        raise DataError(
            f"`--sizes` asks for {max(sizes)} rows, but there are {num_rows} to train on.",
            "`all` stands for all of them.",
        )
    return sorted(sizes)
