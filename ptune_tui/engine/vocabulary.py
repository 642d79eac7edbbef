"""Virtual tokens beside the vocabulary: nearest tokens and norms.

Legend: P virtual tokens, V vocabulary, C rows of a chunk, H hidden, k nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ptune_tui.engine.model import FrozenModel

_CHUNK_ROWS = 8192


@dataclass(frozen=True)
class Vocabulary:
    """The embeddings of all tokens, as they join a text (some models scale them).

    Attributes:
        size: V.
        embed: Token ids int64 [C] to float32 [C, H].
    """

    size: int
    embed: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, frozen: FrozenModel) -> Vocabulary:
        """A model's."""
        return cls(frozen.network.get_input_embeddings().num_embeddings, frozen.embed)


@dataclass(frozen=True)
class Neighbours:
    """The vocabulary as virtual tokens see it.

    Attributes:
        ids_Pk: Nearest tokens by cosine, closest first, int64.
        cosines_Pk: Their cosines, float32.
        norms_P: Norms of the virtual tokens, float32.
        vocabulary_norm: Mean norm of the vocabulary's embeddings.
    """

    ids_Pk: Tensor
    cosines_Pk: Tensor
    norms_P: Tensor
    vocabulary_norm: float


@torch.no_grad()
def neighbours(vocabulary: Vocabulary, embeddings_PH: Tensor, num_nearest: int) -> Neighbours:
    """Find the tokens whose embeddings point where virtual tokens point.

    The vocabulary is read in chunks.

    Args:
        vocabulary (Vocabulary): The model's.
        embeddings_PH (Tensor): Virtual tokens, float32.
        num_nearest (int): k.
    """
    embeddings_PH = embeddings_PH.cpu()
    directions_PH = functional.normalize(embeddings_PH, dim=1)
    best_Pk = torch.empty((len(embeddings_PH), 0))
    ids_Pk = torch.empty((len(embeddings_PH), 0), dtype=torch.int64)
    total = 0.0
    for ids_C in _chunks(vocabulary.size):
        chunk_CH = vocabulary.embed(ids_C).cpu()
        total += float(chunk_CH.norm(dim=1).sum())
        cosines_PC = directions_PH @ functional.normalize(chunk_CH, dim=1).T
        all_cosines = torch.cat([best_Pk, cosines_PC], dim=1)
        all_ids = torch.cat([ids_Pk, ids_C.expand(len(cosines_PC), -1)], dim=1)
        best_Pk, places = all_cosines.topk(min(num_nearest, all_cosines.shape[1]), dim=1)
        ids_Pk = all_ids.gather(1, places)
    return Neighbours(ids_Pk, best_Pk, embeddings_PH.norm(dim=1), total / vocabulary.size)


def _chunks(size: int) -> Iterator[Tensor]:
    for first in range(0, size, _CHUNK_ROWS):
        yield torch.arange(first, min(first + _CHUNK_ROWS, size))
