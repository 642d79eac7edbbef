"""The protocol of a method: parameters in, a prompt out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor, nn

from ptune_tui.engine.prompt import Prompt


class Method(Protocol):
    """Something trainable that folds to a prompt; every method is an `nn.Module`."""

    @property
    def default_rate(self) -> float:
        """Learning rate that suits the method where the user names none, in units of `unit`."""
        ...

    @property
    def unit(self) -> float:
        """Standard deviation of the values the method starts from: what its rate is measured in.

        Of the vocabulary's entries, or of the keys and values of a text.
        """
        ...

    def __call__(self) -> Prompt:
        """The prompt with gradients; computed once a step, shared by all micro-batches."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the optimiser changes."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All of the method's state, for an exact resume."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> Any:
        """Take up a state again."""
        ...
