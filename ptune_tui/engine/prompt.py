"""What every method ends as: virtual tokens, or the keys and values of every layer.

Legend: P virtual tokens, H hidden, L layers, h key/value heads, D head size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class VirtualTokens:
    """A soft prompt in the place of token embeddings; it runs everywhere.

    Attributes:
        embeddings_PH: float32 [P, H].
    """

    embeddings_PH: Tensor

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return self.embeddings_PH.shape[0]

    def detached(self) -> VirtualTokens:
        """A copy that no optimiser changes."""
        return VirtualTokens(self.embeddings_PH.detach().clone())


@dataclass(frozen=True)
class LayerPrefix:
    """Keys and values of every layer, as a cache holds them (keys are rotated already).

    Attributes:
        keys_values: float32 [L, 2, h, P, D].
    """

    keys_values: Tensor

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return self.keys_values.shape[3]

    def detached(self) -> LayerPrefix:
        """A copy that no optimiser changes."""
        return LayerPrefix(self.keys_values.detach().clone())


Prompt = VirtualTokens | LayerPrefix
