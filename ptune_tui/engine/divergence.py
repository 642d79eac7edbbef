"""When a run has diverged: what is not finite, and what is far from anything the run had reached.

Three signs, looked at in every step:

- the loss or the gradient is not finite;
- the prompt's root mean square is a thousand times that of its start. A layer norm bounds the loss
  of a prompt of any size, so a rate of 1e6 shows here and not in the loss;
- the smoothed loss is above three times its best plus one, for twenty steps on end.
"""

from __future__ import annotations

import math

import msgspec
import torch

from ptune_tui.engine.prompt import LayerPrefix, Prompt
from ptune_tui.events import Diverged

MAX_GROWTH = 1000.0
LOSS_FACTOR = 3.0
LOSS_MARGIN = 1.0  # nats; a best loss near 0 would make any other one "far"
MAX_FAR_STEPS = 20
SMOOTHING = 0.9


class LossWatch(msgspec.Struct):
    """The smoothed loss of a run, and how long it has been far above its best.

    Attributes:
        average: Exponential average of the losses, not yet corrected for its start at 0.
        num_losses: How many it holds.
        best: Lowest smoothed loss so far; None before the first.
        num_far: Steps on end for which the smoothed loss has been far above the best.
    """

    average: float = 0.0
    num_losses: int = 0
    best: float | None = None
    num_far: int = 0

    @property
    def is_calm(self) -> bool:
        """Whether the loss is where a state is worth going back to."""
        return self.num_far == 0

    def add(self, loss: float) -> float:
        """Take in the finite loss of a step; returns the smoothed loss."""
        self.num_losses += 1
        self.average = SMOOTHING * self.average + (1.0 - SMOOTHING) * loss
        smoothed = self.average / (1.0 - SMOOTHING**self.num_losses)
        self.best = smoothed if self.best is None else min(self.best, smoothed)
        is_far = smoothed > LOSS_FACTOR * self.best + LOSS_MARGIN
        self.num_far = self.num_far + 1 if is_far else 0
        return smoothed


def loss_sign(step: int, loss: float, norm: float, watch: LossWatch) -> Diverged | None:
    """What is wrong with a step's loss or gradient, after telling the watch.

    Args:
        step (int): The step.
        loss (float): Its loss.
        norm (float): Norm of its gradient, before clipping.
        watch (LossWatch): Of the run.
    """
    if not math.isfinite(loss):
        return Diverged(step, "loss")
    if not math.isfinite(norm):
        return Diverged(step, "gradient")
    smoothed = watch.add(loss)
    if watch.num_far < MAX_FAR_STEPS:
        return None
    return Diverged(
        step,
        "loss",
        f"has been far above the best for {MAX_FAR_STEPS} steps (smoothed {smoothed:.3g}, "
        f"best {watch.best:.3g})",
    )


def prompt_sign(step: int, size: float, start_size: float) -> Diverged | None:
    """What is wrong with the prompt that a step begins with.

    Args:
        step (int): The step.
        size (float): Root mean square of the prompt.
        start_size (float): The same at the start of the run.
    """
    if not math.isfinite(size):
        return Diverged(step, "prompt")
    if size <= MAX_GROWTH * start_size:
        return None
    return Diverged(step, "prompt", f"has grown to {size / start_size:.0f} times its start")


def root_mean_square(prompt: Prompt) -> float:
    """Root mean square of a prompt's values."""
    values = prompt.keys_values if isinstance(prompt, LayerPrefix) else prompt.embeddings_PH
    return float(torch.sqrt(values.detach().float().square().mean()))
