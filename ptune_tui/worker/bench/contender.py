"""The protocol of a contender, and the step that is measured, the same for all."""

from __future__ import annotations

import time
from typing import Protocol

import torch
from torch import Tensor, nn

from ptune_tui.engine.memory import finish

# A usual rate for AdamW; no figure depends on it, but the step is a whole one.
LEARNING_RATE = 1e-3


class Contender(Protocol):
    """A model with a trainable prompt and the rows of a step.

    Attributes:
        parameter: What is trained, in the contender's own layout.
        computed_by: Who computes its layers, and why where that is not the usual.
    """

    parameter: nn.Parameter
    computed_by: str

    def backward(self) -> float:
        """Add the rows' gradient to the parameter; returns the loss."""
        ...

    def prompt_gradient(self) -> Tensor:
        """The parameter's gradient, float32 [P, H], or [L, 2, h, P, D] for `prefix`."""
        ...


class MeasuredSteps:
    """Training steps of a contender, timed.

    Args:
        contender (Contender): Whose.
        device (str): Where it computes; the clock is read when nothing is left to compute.
    """

    def __init__(self, contender: Contender, device: str) -> None:
        self.contender = contender
        self._device = torch.device(device)
        self._optimizer = torch.optim.AdamW([contender.parameter], lr=LEARNING_RATE)

    def gradient(self) -> tuple[float, float]:
        """Seconds and loss of one gradient without a step."""
        started = time.perf_counter()
        self._optimizer.zero_grad(set_to_none=True)
        loss = self.contender.backward()
        finish(self._device)
        return time.perf_counter() - started, loss

    def step(self) -> tuple[float, float]:
        """Seconds and loss of one whole step: zero the gradient, forward, backward, AdamW."""
        started = time.perf_counter()
        self._optimizer.zero_grad(set_to_none=True)
        loss = self.contender.backward()
        self._optimizer.step()
        finish(self._device)
        return time.perf_counter() - started, loss
