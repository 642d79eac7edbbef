"""Prefix tuning: keys and values of every layer are trained.

Li and Liang 2021, "Prefix-Tuning", and Liu et al. 2022, "P-Tuning v2", which trains them without an
MLP. They start as the keys and values of a text. Those have very different sizes (in
SmolLM2-135M-Instruct the values have a standard deviation of 0.04 in the first layer and 1.7 in the
25th, the keys of 1.4 to 2.2), so the keys and the values of each layer move in proportion to their
own standard deviation: start + deviation / unit * change, where only the change is trained.

Reparametrised, an MLP makes the changes of all layers from one trained code a token, as in the
first of the papers; its last layer starts at zero.

Legend: P virtual tokens, L layers, h key/value heads, D head size, m MLP.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptune_tui.engine.methods.scaled import ScaledLinear
from ptune_tui.engine.prompt import LayerPrefix

_PER_TENSOR = (2, 3, 4)


class PrefixTuning(nn.Module):
    """Trainable keys and values.

    Args:
        start (LayerPrefix): First values.
    """

    default_rate = 0.05
    start: Tensor
    deviation: Tensor
    relative_deviation: Tensor

    def __init__(self, start: LayerPrefix) -> None:
        super().__init__()
        _register_start(self, start)
        self.change = nn.Parameter(torch.zeros_like(self.start))

    @property
    def unit(self) -> float:
        """Standard deviation of the first keys and values."""
        return float(self.deviation)

    def forward(self) -> LayerPrefix:
        """The keys and values."""
        return LayerPrefix(self.start + self.relative_deviation * self.change)


class ReparametrisedPrefixTuning(nn.Module):
    """Keys and values that an MLP makes of one trainable code a token.

    Args:
        start (LayerPrefix): First values.
        mlp_size (int): m.
        generator (torch.Generator): Of the codes and the MLP's first weights.
    """

    default_rate = 0.05
    start: Tensor
    deviation: Tensor
    relative_deviation: Tensor

    def __init__(self, start: LayerPrefix, mlp_size: int, generator: torch.Generator) -> None:
        super().__init__()
        _register_start(self, start)
        num_layers, _, num_heads, num_virtual_tokens, head_size = self.start.shape
        size = num_heads * head_size
        codes = torch.randn((num_virtual_tokens, size), generator=generator)
        self.codes = nn.Parameter(self.unit * codes)
        self.mlp = nn.Sequential(
            ScaledLinear(size, mlp_size, self.unit, generator),
            nn.Tanh(),
            ScaledLinear(mlp_size, num_layers * 2 * size, self.unit, None),
        )

    @property
    def unit(self) -> float:
        """Standard deviation of the first keys and values."""
        return float(self.deviation)

    def forward(self) -> LayerPrefix:
        """The keys and values, the MLP folded in."""
        num_layers, _, num_heads, num_virtual_tokens, head_size = self.start.shape
        flat = self.deviation * self.mlp(self.codes / self.deviation)
        per_head = flat.reshape(num_virtual_tokens, num_layers, 2, num_heads, head_size)
        change = per_head.permute(1, 2, 3, 0, 4)
        return LayerPrefix(self.start + self.relative_deviation * change)


def _register_start(method: nn.Module, start: LayerPrefix) -> None:
    """Keep the start and its sizes with the state, so that a resumed run has the very same.

    `deviation` is the standard deviation of all values, `relative_deviation` [L, 2, 1, 1, 1] that
    of each layer's keys and values divided by it.
    """
    values = start.keys_values.detach().clone().float()
    deviation = values.std()
    method.register_buffer("start", values)
    method.register_buffer("deviation", deviation)
    method.register_buffer(
        "relative_deviation", values.std(dim=_PER_TENSOR, keepdim=True) / deviation
    )
