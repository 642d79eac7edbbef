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
from ptune_tui.engine.forward import logits_behind
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import Prefix, record_prefix
from ptune_tui.engine.prompt import LayerPrefix, Prompt
from ptune_tui.errors import ModelError


def prefix_of(frozen: FrozenModel, prompt: Prompt | None, lead_ids: list[int]) -> Prefix:
    """The prefix of a prompt and the template's lead; gradients flow into the prompt.

    Virtual tokens run through the network together with the lead. A `LayerPrefix` holds keys and
    values already, so only the lead runs, behind it: its positions begin at P.

    Args:
        frozen (FrozenModel): The model.
        prompt (Prompt | None): What was trained, or None for the base alone.
        lead_ids (list[int]): Template tokens that every row begins with.

    Raises:
        ModelError: The prompt holds keys and values, and the model has layers without them.
    """
    lead_nH = frozen.embed(torch.tensor(lead_ids, dtype=torch.int64))
    if isinstance(prompt, LayerPrefix):
        require_shared_prefix(frozen)
        values = prompt.keys_values.to(frozen.device, frozen.compute_dtype)
        layers = [(key.unsqueeze(0), value.unsqueeze(0)) for key, value in values]
        before = Prefix(layers, prompt.num_virtual_tokens)
        return record_prefix(frozen.network, lead_nH, before)
    if prompt is not None:
        lead_nH = torch.cat([prompt.embeddings_PH.to(frozen.device), lead_nH])
    if not frozen.shares_prefix:
        return Prefix([], lead_nH.shape[0], lead_nH)
    return record_prefix(frozen.network, lead_nH)


def require_shared_prefix(frozen: FrozenModel) -> None:
    """A prompt of keys and values needs a model that has them in every layer.

    Args:
        frozen (FrozenModel): The model.

    Raises:
        ModelError: It has others.
    """
    if not frozen.shares_prefix:
        raise ModelError(
            f"{frozen.name} ({frozen.config.model_type}) does not keep keys and values in every "
            "layer, so a prompt of the method `prefix` has no place in it.",
            'Use `method.name = "prompt"` or another method that trains virtual tokens.',
        )


def label_logits(network: Any, prefix: Prefix, batch: Batch) -> Tensor:
    """Logits that predict the labels, [N, V] of the compute dtype.

    Padding is on the right and attention is causal, so no real token ever sees it.

    Args:
        network (Any): The frozen model.
        prefix (Prefix): What every row attends to.
        batch (Batch): The rows.
    """
    return logits_behind(network, prefix, batch.input_ids, (batch.label_rows, batch.label_columns))


def response_loss(network: Any, prefix: Prefix, batch: Batch) -> Tensor:
    """Mean cross-entropy of the batch's label tokens, a scalar.

    Args:
        network (Any): The frozen model.
        prefix (Prefix): What every row attends to.
        batch (Batch): The rows.
    """
    logits = label_logits(network, prefix, batch).float()
    return functional.cross_entropy(logits, batch.labels.to(logits.device))


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
