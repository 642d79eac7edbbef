"""Residual prompt tuning: every virtual token plus what a shared MLP makes of it.

Razdaibiedina et al. 2023, "Residual Prompt Tuning: Improving Prompt Tuning with Residual
Reparameterization": p + LayerNorm(up(relu(down(p)))). The layer norm's gain starts at zero, so that
the first prompt is the start itself.

Legend: P virtual tokens, H hidden, m MLP.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptune_tui.engine.methods.scaled import ScaledLinear
from ptune_tui.engine.prompt import VirtualTokens


class ResidualPromptTuning(nn.Module):
    """Trainable virtual tokens with a shared residual MLP.

    Args:
        start_PH (Tensor): First values, float32 [P, H].
        unit (float): Standard deviation of the vocabulary's entries.
        mlp_size (int): m.
        generator (torch.Generator): Of the MLP's first weights.
    """

    default_rate = 0.1

    def __init__(
        self, start_PH: Tensor, unit: float, mlp_size: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.unit = unit
        hidden_size = start_PH.shape[1]
        self.embeddings = nn.Parameter(start_PH.detach().clone().float())
        self.down = ScaledLinear(hidden_size, mlp_size, unit, generator)
        self.up = ScaledLinear(mlp_size, hidden_size, unit, generator)
        self.gain = nn.Parameter(torch.zeros(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self) -> VirtualTokens:
        """The virtual tokens, the MLP folded in."""
        inner_Pm = functional.relu(self.down(self.embeddings / self.unit))
        change_PH = functional.layer_norm(self.up(inner_Pm), self.gain.shape, self.gain, self.bias)
        return VirtualTokens(self.embeddings + change_PH)
