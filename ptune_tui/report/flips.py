"""Rows that base and tuned prompt answer differently: mended, broken, and wrong both times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptune_tui.results import Flip

MAX_SHOWN = 20


@dataclass(frozen=True)
class FlipGroup:
    """Flips of a kind.

    Attributes:
        title: Which kind.
        num_rows: Of all of them.
        flips: Those that are shown.
    """

    title: str
    num_rows: int
    flips: list[Flip]


def flip_groups(flips: Sequence[Flip]) -> list[FlipGroup]:
    """The flips by kind; kinds without a row are left out.

    Args:
        flips (Sequence[Flip]): All of them, in the order of the rows.
    """
    kinds: dict[str, list[Flip]] = {
        "Right only with the prompt": [],
        "Right only without it": [],
        "Wrong both times, in two ways": [],
    }
    mended, broken, wrong = kinds.values()
    for flip in flips:
        if flip.is_gain:
            mended.append(flip)
        elif flip.is_loss:
            broken.append(flip)
        else:
            wrong.append(flip)
    return [
        FlipGroup(title, len(found), found[:MAX_SHOWN]) for title, found in kinds.items() if found
    ]
