"""A frozen model as other programs hold one: names, floats, and rows for the virtual tokens.

Other programs take virtual tokens as rows of the embedding. Their heads then have rows for them,
too, whose logits must not win. A head has no bias, so no row is low for every hidden state; but the
copy of a row that is there scores what that row scores, and is never above all others. The row of
the token that is least likely wherever the prompt was probed costs the least when tokens are drawn,
and changes no greedy text at all.

Legend: V rows of the embedding, P virtual tokens, H hidden, T tokens of a probe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.parity import Reference
from export.prompt_files import ExportedPrompt
from export.prompts import virtual_tokens
from export.sampling import log_softmax
from quant.packing import FrozenWeight

_ROWS_AT_ONCE = 4096
_NUM_PROBES = 4


@dataclass(frozen=True)
class PlainModel:
    """A frozen model and where its vocabulary is.

    Attributes:
        name: What to call it.
        config: transformers configuration.
        weights: Frozen weights by transformers' names.
        weights_hash: sha256 over them.
        tokenizer_json: The tokenizer, as training used it.
        embedding: Name of the embedding's weight.
        head: Name of the head's weight; not in `weights` where it is the embedding.
        embedding_scale: What rows are multiplied by when they are looked up.
        gguf_file: The file it was read from, where that is a GGUF file.
    """

    name: str
    config: Any
    weights: Mapping[str, FrozenWeight | Tensor]
    weights_hash: str
    tokenizer_json: str
    embedding: str
    head: str
    embedding_scale: float
    gguf_file: Path | None

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.weights[self.embedding].shape[0]

    def embedding_rows(self, prompt: ExportedPrompt) -> Tensor:
        """The virtual tokens as rows that a lookup scales, float32 [P, H].

        Args:
            prompt (ExportedPrompt): The prompt; virtual tokens were trained behind the scaling.

        Raises:
            NotCarriedError: It is keys and values of every layer.
        """
        rows_PH = torch.from_numpy(virtual_tokens(prompt.prompt).embeddings_PH)
        return rows_PH / self.embedding_scale

    def head_weight(self) -> FrozenWeight | Tensor:
        """The head's weight [V, H]."""
        return self.weights.get(self.head, self.weights[self.embedding])


def rows_of(weight: FrozenWeight | Tensor, start: int, stop: int) -> Tensor:
    """Rows `start:stop` of a weight in float32."""
    if isinstance(weight, Tensor):
        return weight[start:stop].float()
    return weight.dequantize(start, stop)


def floats(
    weight: FrozenWeight | Tensor, dtype: torch.dtype, more_rows: Tensor | None = None
) -> Tensor:
    """A weight in floats, dequantised in chunks of rows, with rows appended where asked.

    Args:
        weight (FrozenWeight | Tensor): The weight.
        dtype (torch.dtype): What it is rounded to.
        more_rows (Tensor | None): Rows to append.
    """
    num_more = 0 if more_rows is None else len(more_rows)
    num_rows = weight.shape[0]
    result = torch.empty((num_rows + num_more, *weight.shape[1:]), dtype=dtype)
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, num_rows)
        result[start:stop] = rows_of(weight, start, stop)
    if more_rows is not None:
        result[num_rows:] = more_rows
    return result


def rounding_error(weight: FrozenWeight | Tensor, rounded: Tensor) -> float:
    """How far rounded floats are from a weight: the error's norm over the weight's."""
    error = norm = 0.0
    for start in range(0, weight.shape[0], _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, weight.shape[0])
        exact = rows_of(weight, start, stop)
        error += float((rounded[start:stop].float() - exact).double().square().sum())
        norm += float(exact.double().square().sum())
    return (error / norm) ** 0.5 if norm else 0.0


def quietest_token(reference: Reference, rows: Sequence[list[int]]) -> int:
    """The token whose best chance, over every position of some rows behind the prompt, is least.

    Args:
        reference (Reference): The trained model.
        rows (Sequence[list[int]]): Rows of tokens; the first few are asked.
    """
    chances = [log_softmax(reference.logits(ids)).max(0) for ids in rows[:_NUM_PROBES]]
    return int(np.stack(chances).max(0).argmin())
