"""What parts of a prompt are worth: the same rows answered with some of its virtual tokens.

Legend: P virtual tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from export.encoding import EncodedRow
from ptune_tui.engine.evaluate import Evaluator, shared_lead
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.engine.step import prefix_of
from quant.linear import exact_products

MAX_GROUPS = 20


def part_of(prompt: Prompt, kept: Sequence[int]) -> Prompt | None:
    """A prompt with some of its virtual tokens; None for none of them, which is the base.

    What is left moves together, as in an adapter that never had the others.

    Args:
        prompt (Prompt): The whole one.
        kept (Sequence[int]): Numbers of the tokens that are left, in their order.
    """
    if not kept:
        return None
    numbers = list(kept)
    if isinstance(prompt, LayerPrefix):
        return LayerPrefix(prompt.keys_values[:, :, :, numbers])
    return VirtualTokens(prompt.embeddings_PH[numbers])


@torch.no_grad()
def response_loss(
    evaluator: Evaluator, prompt: Prompt | None, encoded: Sequence[EncodedRow]
) -> float:
    """Mean cross-entropy of the response tokens with a prompt, or with none.

    Args:
        evaluator (Evaluator): Model, template and labels.
        prompt (Prompt | None): The whole one or a part; None for the base.
        encoded (Sequence[EncodedRow]): The rows.
    """
    lead = shared_lead(encoded, evaluator.encoder.lead_ids())
    with exact_products(evaluator.frozen.network):
        prefix = prefix_of(evaluator.frozen, prompt, lead)
        return evaluator.loss(prefix, encoded, len(lead))


def groups(num_virtual_tokens: int) -> list[range]:
    """Which tokens are left out together: each by itself, or neighbours, in at most 20 groups.

    Args:
        num_virtual_tokens (int): P.
    """
    size = -(-num_virtual_tokens // MAX_GROUPS)
    return [
        range(first, min(first + size, num_virtual_tokens))
        for first in range(0, num_virtual_tokens, size)
    ]


def beginnings(num_virtual_tokens: int) -> list[int]:
    """How many of the first tokens are kept: 1, 2, 4, ... below all of them.

    Args:
        num_virtual_tokens (int): P.
    """
    lengths = []
    length = 1
    while length < num_virtual_tokens:
        lengths.append(length)
        length *= 2
    return lengths
