"""P-tuning: an MLP over trained embeddings makes the virtual tokens.

Liu et al. 2021, "GPT Understands, Too", with the three-layer MLP of PEFT's `PromptEncoder`. Its
last layer starts at zero and its output is added to the start, so that the first prompt is the
start itself; PEFT's begins at random values that have nothing to do with the vocabulary.

Legend: P virtual tokens, H hidden, m MLP.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptune_tui.engine.methods.scaled import ScaledLinear
from ptune_tui.engine.prompt import VirtualTokens


class PTuning(nn.Module):
    """Virtual tokens that an MLP makes of trainable embeddings.

    Args:
        start_PH (Tensor): First values, float32 [P, H]; the embeddings start there, too.
        unit (float): Standard deviation of the vocabulary's entries.
        mlp_size (int): m.
        generator (torch.Generator): Of the MLP's first weights.
    """

    default_rate = 0.1
    start: Tensor

    def __init__(
        self, start_PH: Tensor, unit: float, mlp_size: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.unit = unit
        hidden_size = start_PH.shape[1]
        self.register_buffer("start", start_PH.detach().clone().float())
        self.embeddings = nn.Parameter(self.start.clone())
        self.mlp = nn.Sequential(
            ScaledLinear(hidden_size, mlp_size, unit, generator),
            nn.ReLU(),
            ScaledLinear(mlp_size, mlp_size, unit, generator),
            nn.ReLU(),
            ScaledLinear(mlp_size, hidden_size, unit, None),
        )

    def forward(self) -> VirtualTokens:
        """The virtual tokens, the MLP folded in."""
        change_PH: Tensor = self.mlp(self.embeddings / self.unit)
        return VirtualTokens(self.start + self.unit * change_PH)
