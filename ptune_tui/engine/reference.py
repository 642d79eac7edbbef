"""The trained model as the exporter's parity gate asks it: exact, in torch.

Legend: T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ptune_tui.engine.forward import logits_behind
from ptune_tui.engine.generate import generate_greedily
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.step import prefix_of


class TorchReference:
    """Answers with a prompt in torch, float32.

    Args:
        frozen (FrozenModel): The model.
        prompt (Prompt | None): What was trained; None answers as the base.
    """

    def __init__(self, frozen: FrozenModel, prompt: Prompt | None) -> None:
        self.frozen = frozen
        with torch.no_grad():
            self.prefix = prefix_of(frozen, prompt, [])

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Logits float32 [T, V] of tokens behind the prompt."""
        columns = torch.arange(len(ids))
        index = (torch.zeros_like(columns), columns)
        rows_BT = torch.tensor([list(ids)])
        logits_TV = logits_behind(self.frozen.network, self.prefix, rows_BT, index)
        return np.asarray(logits_TV.float().cpu().numpy())

    def continuations(self, rows: Sequence[list[int]], num_tokens: int) -> list[list[int]]:
        """The greedy continuation of rows behind the prompt, without the end token."""
        return generate_greedily(self.frozen, self.prefix, rows, num_tokens)
