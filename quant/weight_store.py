"""A frozen weight inside a module: it follows the module to a device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quant.packing import FrozenWeight


class WeightStore(torch.nn.Module):
    """Holds a frozen weight so that it follows the module to a device.

    A tied head and its embedding share one store, and so stay shared after a move. Dtypes never
    change: `model.to(torch.bfloat16)` must not touch the scales.

    Attributes:
        weight: The frozen weight.
    """

    def __init__(self, weight: FrozenWeight) -> None:
        super().__init__()
        self.weight = weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> WeightStore:
        device = fn(torch.empty(0, device=self.weight.device)).device
        if device != self.weight.device:
            self.weight = self.weight.to(device)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self
