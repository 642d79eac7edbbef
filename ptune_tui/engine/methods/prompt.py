"""Prompt tuning: the virtual tokens themselves are trained.

Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning".

Legend: P virtual tokens, H hidden.
"""

from __future__ import annotations

from torch import Tensor, nn

from ptune_tui.engine.prompt import VirtualTokens


class PromptTuning(nn.Module):
    """Trainable virtual tokens.

    Args:
        start_PH (Tensor): First values, float32 [P, H].
        unit (float): Standard deviation of the vocabulary's entries.
    """

    default_rate = 0.3

    def __init__(self, start_PH: Tensor, unit: float) -> None:
        super().__init__()
        self.unit = unit
        self.embeddings = nn.Parameter(start_PH.detach().clone().float())

    def forward(self) -> VirtualTokens:
        """The virtual tokens."""
        return VirtualTokens(self.embeddings)
