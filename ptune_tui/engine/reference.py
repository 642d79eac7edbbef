"""The trained model as the exporter's parity gate asks it: exact, in torch.

Legend: T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ptune_tui.engine.generate import generate_greedily
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import PrefixCache, causal_mask, head_reads, sliding_window
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
        network, length = self.frozen.network, len(ids)
        columns = torch.arange(length)
        with head_reads(network, (torch.zeros_like(columns), columns)):
            output = network(
                input_ids=torch.tensor([list(ids)]),
                attention_mask=causal_mask(self.prefix.length, length, sliding_window(network)),
                position_ids=(self.prefix.length + columns).unsqueeze(0),
                past_key_values=PrefixCache(self.prefix),
                use_cache=True,
            )
        return np.asarray(output.logits[0].float().numpy())

    def continuations(self, rows: Sequence[list[int]], num_tokens: int) -> list[list[int]]:
        """The greedy continuation of rows behind the prompt, without the end token."""
        return generate_greedily(self.frozen, self.prefix, rows, num_tokens)
