"""Virtual tokens beside the vocabulary: nearest tokens and norms.

Legend: P virtual tokens, V vocabulary, C rows of a chunk, H hidden, k nearest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ptune_tui.engine.model import FrozenModel

_CHUNK_ROWS = 8192


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
def neighbours(frozen: FrozenModel, embeddings_PH: Tensor, num_nearest: int) -> Neighbours:
    """Find the tokens whose embeddings point where virtual tokens point.

    The vocabulary is read in chunks, as it joins a text (some models scale it).

    Args:
        frozen (FrozenModel): The model.
        embeddings_PH (Tensor): Virtual tokens, float32.
        num_nearest (int): k.
    """
    embeddings_PH = embeddings_PH.to(frozen.device)
    directions_PH = functional.normalize(embeddings_PH, dim=1)
    best_Pk = torch.empty((len(embeddings_PH), 0), device=frozen.device)
    ids_Pk = torch.empty((len(embeddings_PH), 0), dtype=torch.int64, device=frozen.device)
    total = 0.0
    for ids_C in _chunks(frozen):
        chunk_CH = frozen.embed(ids_C)
        total += float(chunk_CH.norm(dim=1).sum())
        cosines_PC = directions_PH @ functional.normalize(chunk_CH, dim=1).T
        all_cosines = torch.cat([best_Pk, cosines_PC], dim=1)
        all_ids = torch.cat([ids_Pk, ids_C.to(frozen.device).expand(len(cosines_PC), -1)], dim=1)
        best_Pk, places = all_cosines.topk(min(num_nearest, all_cosines.shape[1]), dim=1)
        ids_Pk = all_ids.gather(1, places)
    return Neighbours(
        ids_Pk.cpu(), best_Pk.cpu(), embeddings_PH.norm(dim=1).cpu(), total / _vocab_size(frozen)
    )


def _vocab_size(frozen: FrozenModel) -> int:
    size: int = frozen.network.get_input_embeddings().num_embeddings
    return size


def _chunks(frozen: FrozenModel) -> Iterator[Tensor]:
    size = _vocab_size(frozen)
    for first in range(0, size, _CHUNK_ROWS):
        yield torch.arange(first, min(first + _CHUNK_ROWS, size))
