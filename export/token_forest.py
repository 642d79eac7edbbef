"""Many rows in one sequence of the cache, none of which sees another.

Legend: S new tokens, T tokens in the cache, P tokens of the prefix that all rows share.

Every token has a parent and sees the prefix, its ancestors and itself. So rows of text stand one
behind the other without padding, and the labels of a row branch off its last token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

POSITION_IDS = "position_ids"  # the graph's inputs that a layout is bound to
ATTENTION_BIAS = "attention_bias"
_HIDDEN = np.float32(-1e9)  # what an attention score is lowered by


@dataclass(frozen=True)
class Chain:
    """New tokens of which each is the next one's parent.

    Attributes:
        length: How many.
        parent: The first one's parent, a token as `TokenForest.extend` numbers it; None where
            only the prefix comes before.
    """

    length: int
    parent: int | None = None


@dataclass(frozen=True)
class Layout:
    """Where new tokens stand and what they see.

    Attributes:
        position_ids: int64 [1, S].
        attention_bias: float32 [1, 1, S, T]; 0 where a new token sees one of the cache.
    """

    position_ids: npt.NDArray[np.int64]
    attention_bias: npt.NDArray[np.float32]


def plain_layout(position: int, num_new: int) -> Layout:
    """One sequence: new tokens that see all before them. The operator hides what comes after."""
    return Layout(
        np.arange(position, position + num_new, dtype=np.int64)[None],
        np.zeros((1, 1, num_new, position + num_new), np.float32),
    )


class TokenForest:
    """What the cache holds behind the prefix.

    Args:
        prefix_length (int): P.
    """

    def __init__(self, prefix_length: int) -> None:
        self._prefix_length = prefix_length
        self._sees = np.zeros((0, 0), bool)  # tokens behind the prefix, by tokens behind it
        self._depths = np.zeros(0, np.int64)

    @property
    def length(self) -> int:
        """Tokens in the cache, the prefix included."""
        return self._prefix_length + len(self._depths)

    def extend(self, chains: Sequence[Chain]) -> Layout:
        """Put chains at the end of the cache, one behind the other.

        Tokens are numbered in the order in which they come, from 0 behind the prefix.
        """
        first, num_new = len(self._depths), sum(chain.length for chain in chains)
        self._sees = np.pad(self._sees, (0, num_new))
        self._depths = np.pad(self._depths, (0, num_new))
        start = first
        for chain in chains:
            own = slice(start, start + chain.length)
            if chain.parent is not None:
                self._sees[own] = self._sees[chain.parent]
                self._depths[own] = self._depths[chain.parent] + 1
            self._sees[own, own] = np.tri(chain.length, dtype=bool)
            self._depths[own] += np.arange(chain.length)
            start += chain.length
        bias_ST = np.zeros((num_new, self.length), np.float32)
        bias_ST[:, self._prefix_length :][~self._sees[first:]] = _HIDDEN
        return Layout((self._prefix_length + self._depths[first:])[None], bias_ST[None, None])
