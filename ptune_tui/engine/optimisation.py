"""One optimiser step: the rows' gradient behind one shared prefix, clipped, then AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from export.encoding import EncodedRow
from ptune_tui.config import TrainingConfig
from ptune_tui.engine.batches import BUCKET_WIDTH, Batch, collate, training_order
from ptune_tui.engine.divergence import root_mean_square
from ptune_tui.engine.gradient import GradientStep
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import Prompt


@dataclass(frozen=True)
class Gradient:
    """What a step found before its update.

    Attributes:
        loss: Mean over the label tokens of all rows of the step.
        norm: Of the gradient, before clipping.
        prompt_size: Root mean square of the prompt that it was taken at.
        num_tokens: The rows' own tokens.
    """

    loss: float
    norm: float
    prompt_size: float
    num_tokens: int


@dataclass(frozen=True)
class Optimisation:
    """Steps of one method on the rows of a task.

    Attributes:
        frozen: The model.
        method: What is trained.
        rows: Training rows.
        lead: Template tokens that all rows begin with.
        settings: How to train.
        step: Computes gradients.
        micro_batch_size: Rows computed at a time; 0 for all rows of a step.
        bucket_width: Rows are padded to a multiple of so many tokens.
    """

    frozen: FrozenModel
    method: Method
    rows: Sequence[EncodedRow]
    lead: list[int]
    settings: TrainingConfig
    step: GradientStep
    micro_batch_size: int = 0
    bucket_width: int = BUCKET_WIDTH

    @cached_property
    def optimizer(self) -> torch.optim.AdamW:
        """AdamW over the method's parameters; the rate is set step by step."""
        return torch.optim.AdamW(
            self.method.parameters(), lr=1.0, weight_decay=self.settings.weight_decay
        )

    @property
    def peak_rate(self) -> float:
        """The peak of the learning rate, absolute."""
        return (self.settings.learning_rate or self.method.default_rate) * self.method.unit

    def gradient(self, numbers: Sequence[int]) -> Gradient:
        """Put the gradient of some rows into the parameters, clipped.

        Args:
            numbers (Sequence[int]): The rows of the step.
        """
        self.optimizer.zero_grad(set_to_none=True)
        batches = self._micro_batches(numbers)
        prompt, loss = self._add_gradients(batches)
        norm = torch.nn.utils.clip_grad_norm_(
            self.method.parameters(), self.settings.max_gradient_norm
        )
        num_tokens = sum(batch.num_tokens for batch in batches)
        return Gradient(loss, float(norm), root_mean_square(prompt), num_tokens)

    def update(self, rate: float) -> None:
        """Change the parameters by the gradient that they hold.

        Args:
            rate (float): Learning rate, absolute.
        """
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()

    def _add_gradients(self, batches: Sequence[Batch]) -> tuple[Prompt, float]:
        """Add up the gradients of the step's loss; returns the prompt and the loss."""
        prompt = self.method()
        return prompt, self.step(prompt, self.lead, batches)

    def _micro_batches(self, numbers: Sequence[int]) -> list[Batch]:
        """The rows in batches of similar length."""
        size = self.micro_batch_size or len(numbers)
        ordered = sorted(numbers, key=lambda number: self.rows[number].num_tokens)
        return [
            collate(
                [self.rows[number] for number in ordered[first : first + size]],
                len(self.lead),
                self.bucket_width,
            )
            for first in range(0, len(ordered), size)
        ]


class RowOrder:
    """The rows of step after step, determined by a seed and a position.

    Args:
        rows (Sequence[EncodedRow]): Training rows.
        batch_size (int): Rows a step.
        seed (int): Of the shuffles.

    Attributes:
        num_drawn: Steps drawn so far.
        last: The rows of the last of them.
    """

    def __init__(self, rows: Sequence[EncodedRow], batch_size: int, seed: int) -> None:
        self._lengths = [row.num_tokens for row in rows]
        self._batch_size = batch_size
        self._seed = seed
        self.last: list[int] = []
        self.go_to(0)

    def draw(self) -> list[int]:
        """Row numbers of the next step."""
        self.num_drawn += 1
        self.last = next(self._order)
        return self.last

    def go_to(self, num_drawn: int) -> None:
        """Go to where so many steps have been drawn.

        The shuffles are drawn again from the seed: milliseconds, and no state that could be wrong.
        """
        generator = torch.Generator().manual_seed(self._seed)
        self._order = training_order(self._lengths, self._batch_size, generator)
        self.num_drawn = 0
        self.last = []
        for _ in range(num_drawn):
            self.draw()
