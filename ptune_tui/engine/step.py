"""The loss of a batch behind a shared prefix, with logits only where there are labels.

Legend: B rows, T tokens of a row, n tokens of the prefix or its lead, N label positions,
P virtual tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ptune_tui.engine.batches import Batch
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import (
    Prefix,
    PrefixCache,
    causal_mask,
    head_reads,
    record_prefix,
    sliding_window,
)
from ptune_tui.engine.prompt import LayerPrefix, Prompt


def prefix_of(frozen: FrozenModel, prompt: Prompt | None, lead_ids: list[int]) -> Prefix:
    """The prefix of a prompt and the template's lead; gradients flow into the prompt.

    Virtual tokens run through the network together with the lead. A `LayerPrefix` holds keys and
    values already, so only the lead runs, behind it: its positions begin at P.

    Args:
        frozen (FrozenModel): The model.
        prompt (Prompt | None): What was trained, or None for the base alone.
        lead_ids (list[int]): Template tokens that every row begins with.
    """
    lead_nH = frozen.embed(torch.tensor(lead_ids, dtype=torch.int64))
    if isinstance(prompt, LayerPrefix):
        layers = [(key.unsqueeze(0), value.unsqueeze(0)) for key, value in prompt.keys_values]
        before = Prefix(layers, prompt.num_virtual_tokens)
        return record_prefix(frozen.network, lead_nH, before)
    if prompt is not None:
        lead_nH = torch.cat([prompt.embeddings_PH, lead_nH])
    return record_prefix(frozen.network, lead_nH)


def label_logits(network: Any, prefix: Prefix, batch: Batch) -> Tensor:
    """Logits that predict the labels, float32 [N, V].

    Padding is on the right and attention is causal, so no real token ever sees it.

    Args:
        network (Any): The frozen model.
        prefix (Prefix): What every row attends to.
        batch (Batch): The rows.
    """
    width = batch.input_ids.shape[1]
    positions = torch.arange(prefix.length, prefix.length + width).unsqueeze(0)
    with head_reads(network, (batch.label_rows, batch.label_columns)):
        output = network(
            input_ids=batch.input_ids,
            attention_mask=causal_mask(prefix.length, width, sliding_window(network)),
            position_ids=positions,
            past_key_values=PrefixCache(prefix),
            use_cache=True,
        )
    logits: Tensor = output.logits[0]
    return logits


def response_loss(network: Any, prefix: Prefix, batch: Batch) -> Tensor:
    """Mean cross-entropy of the batch's label tokens, a scalar.

    Args:
        network (Any): The frozen model.
        prefix (Prefix): What every row attends to.
        batch (Batch): The rows.
    """
    return functional.cross_entropy(label_logits(network, prefix, batch).float(), batch.labels)


def training_gradient(
    frozen: FrozenModel, prompt: Prompt, lead_ids: list[int], batch: Batch
) -> float:
    """Add a batch's gradient to what the prompt is made of and return the loss.

    The prefix runs once; the rows' gradient is collected on its keys and values and sent back
    through it once.

    Args:
        frozen (FrozenModel): The model.
        prompt (Prompt): Its tensor requires a gradient (or comes from what does).
        lead_ids (list[int]): Template tokens that every row begins with.
        batch (Batch): The rows.
    """
    prefix = prefix_of(frozen, prompt, lead_ids)
    loss = response_loss(frozen.network, prefix, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())
