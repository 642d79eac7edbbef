"""Attention that rows put on a prompt, and the size of keys and values beside those of text.

Legend: B rows, T tokens of a row, n tokens of the prefix (P virtual ones first), L layers, h
attention heads, P virtual tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from export.encoding import EncodedRow
from ptune_tui.engine.batches import Batch, collate
from ptune_tui.engine.evaluate import shared_lead
from ptune_tui.engine.masks import causal_mask
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import PrefixCache, head_reads
from ptune_tui.engine.prompt import LayerPrefix, Prompt
from ptune_tui.engine.step import prefix_of, require_shared_prefix

# Attention weights of every layer are there at once.
_MAX_WEIGHTS = 1 << 26


@dataclass(frozen=True)
class AttentionMasses:
    """Shares of attention, mean of heads, tokens and rows.

    Attributes:
        text_LP: What text tokens put on each virtual token in each layer, float64.
        answer_LP: What the positions put on it that the response is read from.
    """

    text_LP: Tensor
    answer_LP: Tensor


@torch.no_grad()
def attention_masses(
    frozen: FrozenModel,
    prompt: Prompt,
    rows: Sequence[EncodedRow],
    template_lead: Sequence[int],
    on_progress: Callable[[int, int], None] | None = None,
) -> AttentionMasses:
    """Run rows behind a prompt through transformers' own eager attention and add up its weights.

    Text tokens are those of a row's prompt behind the lead that all rows share, but for its last
    one; that one and the response's own are where the response is read from.

    Args:
        frozen (FrozenModel): The model.
        prompt (Prompt): Virtual tokens, or keys and values.
        rows (Sequence[EncodedRow]): The rows.
        template_lead (Sequence[int]): Tokens that the template begins with.
        on_progress (Callable[[int, int], None] | None): Called with rows done and their number.

    Raises:
        ModelError: The model has layers without keys and values.
    """
    require_shared_prefix(frozen)
    lead = shared_lead(rows, template_lead)
    num_layers = frozen.config.num_hidden_layers
    text_LP = torch.zeros((num_layers, prompt.num_virtual_tokens), dtype=torch.float64)
    answer_LP = torch.zeros_like(text_LP)
    num_text = num_answer = num_done = 0
    with eager_attention(frozen.network):
        prefix = prefix_of(frozen, prompt, list(lead))
        for part in _parts(frozen, rows, prefix.length):
            batch = collate(part, len(lead), 1)
            is_text_BT, is_answer_BT = _roles(batch)
            weights = _attention(frozen, PrefixCache(prefix), batch, prefix.length)
            for layer, weights_BhTK in enumerate(weights):
                mass_BTP = weights_BhTK[..., : prompt.num_virtual_tokens].double().mean(1).cpu()
                text_LP[layer] += mass_BTP[is_text_BT].sum(0)
                answer_LP[layer] += mass_BTP[is_answer_BT].sum(0)
            num_text += int(is_text_BT.sum())
            num_answer += int(is_answer_BT.sum())
            num_done += len(part)
            if on_progress:
                on_progress(num_done, len(rows))
    return AttentionMasses(text_LP / max(1, num_text), answer_LP / num_answer)


@dataclass(frozen=True)
class LayerNorms:
    """Norms of a prompt's keys and values over the mean norm of text tokens' in the same layer.

    Attributes:
        key_LP: Mean of the heads, float32.
        value_LP: The same of values.
    """

    key_LP: Tensor
    value_LP: Tensor


@torch.no_grad()
def layer_norms(frozen: FrozenModel, prompt: LayerPrefix, rows: Sequence[EncodedRow]) -> LayerNorms:
    """Hold keys and values against those of texts that the model reads without a prompt.

    Args:
        frozen (FrozenModel): The model.
        prompt (LayerPrefix): Keys and values.
        rows (Sequence[EncodedRow]): Texts.
    """
    totals_L2 = torch.zeros(prompt.keys_values.shape[:2])
    num_tokens = 0
    for row in rows:
        for layer, pair in enumerate(prefix_of(frozen, None, row.prompt_ids).layers):
            for kind, states_1hTD in enumerate(pair):
                totals_L2[layer, kind] += states_1hTD.float().norm(dim=-1).mean(1).sum().cpu()
        num_tokens += len(row.prompt_ids)
    norms_L2P = prompt.keys_values.float().norm(dim=-1).mean(2).cpu()
    ratios_L2P = norms_L2P / (totals_L2 / num_tokens).unsqueeze(-1)
    return LayerNorms(ratios_L2P[:, 0], ratios_L2P[:, 1])


@contextmanager
def eager_attention(network: Any) -> Iterator[None]:
    """Let a model compute attention step by step, so that its weights can be seen.

    Args:
        network (Any): The model.
    """
    before = network.config.get_text_config(decoder=True)._attn_implementation
    network.set_attn_implementation("eager")
    try:
        yield
    finally:
        network.set_attn_implementation(before)


def _attention(
    frozen: FrozenModel, cache: PrefixCache, batch: Batch, num_before: int
) -> tuple[Tensor, ...]:
    """Attention weights of every layer, [B, h, T, n + T] each."""
    num_rows, width = batch.input_ids.shape
    positions = torch.arange(num_before, num_before + width, device=frozen.device).unsqueeze(0)
    with head_reads(frozen.network, None):
        output = frozen.network(
            input_ids=batch.input_ids.to(frozen.device),
            attention_mask=causal_mask(frozen.network, num_before, width, num_rows),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            output_attentions=True,
        )
    weights: tuple[Tensor, ...] = output.attentions
    return weights


def _roles(batch: Batch) -> tuple[Tensor, Tensor]:
    """Which tokens are text and which the response is read from, bool [B, T] each."""
    num_rows, width = batch.input_ids.shape
    is_answer_BT = torch.zeros((num_rows, width), dtype=torch.bool)
    is_answer_BT[batch.label_rows, batch.label_columns] = True
    is_real_BT = torch.arange(width) < batch.lengths.unsqueeze(1)
    return is_real_BT & ~is_answer_BT, is_answer_BT


def _parts(
    frozen: FrozenModel, rows: Sequence[EncodedRow], num_before: int
) -> Iterator[list[EncodedRow]]:
    """The rows, so many at a time that the weights of all layers fit; one is always taken."""
    config = frozen.config
    ordered = sorted(rows, key=lambda row: -row.num_tokens)
    while ordered:
        width = ordered[0].num_tokens
        weights = config.num_hidden_layers * config.num_attention_heads * width
        size = max(1, _MAX_WEIGHTS // (weights * (num_before + width)))
        yield ordered[:size]
        ordered = ordered[size:]
