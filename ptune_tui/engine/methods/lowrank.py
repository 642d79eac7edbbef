"""Ultra-low-dimensional prompt tuning: few trained numbers a token, projected up by fixed ones.

Wu et al. 2025, "ULPT: Prompt Tuning with Ultra-Low-Dimensional Optimization" (arXiv 2502.04501):
(Z R) * scale + shift, where only Z [P, r] and the shift and scale of each hidden dimension are
trained and R [r, H] is random and frozen. Here the sum is added to the start, and Z starts at zero,
so that the first prompt is the start itself.

R is kept with the state although a seed would do: random generators are not the same in every
version of torch, and a resumed run has to be. Adapters hold the folded prompt only.

Legend: P virtual tokens, H hidden, r rank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptune_tui.engine.prompt import VirtualTokens


class LowRankPromptTuning(nn.Module):
    """A trainable low-dimensional change of virtual tokens.

    Args:
        start_PH (Tensor): First values, float32 [P, H].
        unit (float): Standard deviation of the vocabulary's entries.
        rank (int): r.
        generator (torch.Generator): Of the frozen projection.
    """

    default_rate = 0.3
    start: Tensor
    projection: Tensor

    def __init__(
        self, start_PH: Tensor, unit: float, rank: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.unit = unit
        num_virtual_tokens, hidden_size = start_PH.shape
        projection_rH = torch.randn((rank, hidden_size), generator=generator) / math.sqrt(rank)
        self.register_buffer("start", start_PH.detach().clone().float())
        self.register_buffer("projection", projection_rH)
        self.low = nn.Parameter(torch.zeros((num_virtual_tokens, rank)))
        self.scale_change = nn.Parameter(torch.zeros(hidden_size))
        self.shift = nn.Parameter(torch.zeros(hidden_size))

    def forward(self) -> VirtualTokens:
        """The virtual tokens, the projection folded in."""
        # Stored in the prompt's units like all the rest, the scale's natural size is 1.
        scale_H = 1.0 + self.scale_change / self.unit
        change_PH = (self.low @ self.projection) * scale_H + self.shift
        return VirtualTokens(self.start + change_PH)
