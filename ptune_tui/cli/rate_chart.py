"""Loss against learning rate as a chart of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ptune_tui.events import RateTried

WIDTH, HEIGHT = 64, 12
MARK, PROPOSED = "*", "|"
_LEFT = 8  # columns of the losses beside the chart


def rate_chart(tried: Sequence[RateTried], proposed: float) -> list[str]:
    """Lines of a chart: rates on a logarithmic axis, losses upwards, the proposal as a bar.

    Args:
        tried (Sequence[RateTried]): At least one rate.
        proposed (float): The rate to mark.
    """
    losses = [each.loss for each in tried]
    low, high = min(losses), max(losses)
    first, last = tried[0].learning_rate, tried[-1].learning_rate
    rows = [[" "] * WIDTH for _ in range(HEIGHT)]
    for row in rows:
        row[_column(proposed, first, last)] = PROPOSED
    for each in tried:
        share = (high - each.loss) / (high - low) if high > low else 1.0
        row_number = round(share * (HEIGHT - 1))
        rows[row_number][_column(each.learning_rate, first, last)] = MARK
    lines = []
    for number, row in enumerate(rows):
        at_end = number in (0, HEIGHT - 1)
        loss = high - (high - low) * number / (HEIGHT - 1)
        lines.append(f"{f'{loss:.3g}' if at_end else '':>{_LEFT}} |{''.join(row).rstrip()}")
    lines.append(f"{'loss':>{_LEFT}} +{'-' * WIDTH}")
    right = f"{last:.3g}"
    lines.append(f"{'rate':>{_LEFT}}  {first:<{WIDTH - len(right)}.3g}{right}")
    return lines


def _column(rate: float, first: float, last: float) -> int:
    if last <= first:
        return 0
    share = math.log(rate / first) / math.log(last / first)
    return min(max(round(share * (WIDTH - 1)), 0), WIDTH - 1)
