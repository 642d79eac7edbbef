"""The learning rate over a run, as a share of its peak."""

from __future__ import annotations

import math


def schedule(step: int, warmup_steps: int, max_steps: int) -> float:
    """Share of the peak rate: linear warm-up, then a cosine towards 0.

    Args:
        step (int): Counted from 1.
        warmup_steps (int): Steps of warm-up; shorter runs warm up for at most a tenth.
        max_steps (int): All steps.
    """
    warmup = min(warmup_steps, max_steps // 10)
    if step <= warmup:
        return step / (warmup + 1)
    progress = (step - warmup - 1) / max(1, max_steps - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * progress))
