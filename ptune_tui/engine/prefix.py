"""The shared prefix: keys and values that every row attends to, computed once.

Legend: B rows, T tokens of a row, n tokens of the prefix (virtual tokens and the template's lead),
C capacity, S new tokens, H hidden, h key/value heads, D head size.

transformers' own cache concatenates in place: under recomputation the prefix would be appended
twice. The caches here are functional (`PrefixCache`) or write where they are told (`RowCache`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.cache_utils import Cache

from ptune_tui.engine.masks import causal_mask, device_of


@dataclass(frozen=True)
class Prefix:
    """What every row comes behind: keys and values, one pair a layer.

    Attributes:
        layers: (key, value) of each layer, [1, h, n, D] of the compute dtype; no pair at all where
            n is 0 or the model cannot share them.
        length: n.
        embeddings_nH: The prefix itself, float32, where the model keeps more than keys and values
            (state-space and hybrid layers): it runs again in front of every row.
    """

    layers: list[tuple[Tensor, Tensor]]
    length: int
    embeddings_nH: Tensor | None = None


class PrefixCache(Cache):  # type: ignore[misc]
    """Gives every row the prefix; keeps what it is given only where it records a new prefix.

    Args:
        prefix (Prefix | None): What rows attend to.
        is_recording (bool): Whether the new keys and values, behind those of `prefix`, are kept.
    """

    def __init__(self, prefix: Prefix | None, *, is_recording: bool = False) -> None:
        super().__init__(layers=[])
        self.prefix = prefix
        self.is_recording = is_recording
        self.recorded: list[tuple[Tensor, Tensor]] = []

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values to attend to, [B, h, n + T, D], for new ones [B, h, T, D]."""
        pair = key_states, value_states
        if self.prefix is not None and self.prefix.layers:
            num_rows = key_states.shape[0]
            key, value = self.prefix.layers[layer_idx]
            pair = (
                torch.cat([key.expand(num_rows, -1, -1, -1), key_states], dim=2),
                torch.cat([value.expand(num_rows, -1, -1, -1), value_states], dim=2),
            )
        if self.is_recording:
            self.recorded.append(pair)
        return pair

    def get_seq_length(self, _: int = 0) -> int:
        """Tokens before the rows' own."""
        return 0 if self.prefix is None else self.prefix.length


class RowCache(Cache):  # type: ignore[misc]
    """Keys and values of several rows, written from `position` on; for scoring and generating.

    Memory is taken at the first tokens, whose keys and values say how many heads there are and of
    what size.

    Args:
        prefix (Prefix): The beginning of every row.
        capacity (int): C, the prefix included.
    """

    def __init__(self, prefix: Prefix, capacity: int) -> None:
        super().__init__(layers=[])
        self.position = prefix.length
        self._prefix = prefix
        self._capacity = capacity
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new keys and values [B, h, S, D]; returns all so far [B, h, position + S, D]."""
        if layer_idx not in self._layers:
            self._layers[layer_idx] = (
                self._buffer(key_states, layer_idx, 0),
                self._buffer(value_states, layer_idx, 1),
            )
        stop = self.position + key_states.shape[2]
        key, value = self._layers[layer_idx]
        key[:, :, self.position : stop] = key_states
        value[:, :, self.position : stop] = value_states
        return key[:, :, :stop], value[:, :, :stop]

    def _buffer(self, states: Tensor, layer_idx: int, part: int) -> Tensor:
        num_rows, num_heads, _, head_size = states.shape
        buffer = states.new_zeros((num_rows, num_heads, self._capacity, head_size))
        if self._prefix.layers:
            buffer[:, :, : self._prefix.length] = self._prefix.layers[layer_idx][part]
        return buffer

    def get_seq_length(self, _: int = 0) -> int:
        """Tokens so far."""
        return self.position

    def selected(self, rows: Tensor) -> RowCache:
        """A copy of some rows, by int64 index [b]."""
        part = RowCache(self._prefix, self._capacity)
        part.position = self.position
        part._layers = {
            layer: (key[rows], value[rows]) for layer, (key, value) in self._layers.items()
        }
        return part

    def reserve(self, num_tokens: int) -> None:
        """Make room for so many tokens from `position` on."""
        missing = self.position + num_tokens - self._capacity
        if missing > 0:
            self._capacity += missing
            more = (0, 0, 0, missing)
            self._layers = {
                layer: (functional.pad(key, more), functional.pad(value, more))
                for layer, (key, value) in self._layers.items()
            }


@contextmanager
def head_reads(network: Any, index: tuple[Tensor, Tensor] | None) -> Iterator[None]:
    """Let the output head see only some positions, so that logits exist only where they are wanted.

    A hook before the head keeps every head exact, whatever it does to its input.

    Args:
        network (Any): The model.
        index (tuple[Tensor, Tensor] | None): Row and column, int64 [N] each; None reads nothing.
            The logits become [1, N, V].
    """

    def gather(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_BTH = arguments[0]
        if index is None:
            return (hidden_BTH[:1, :0], *arguments[1:])
        rows, columns = (part.to(hidden_BTH.device) for part in index)
        return (hidden_BTH[rows, columns].unsqueeze(0), *arguments[1:])

    hook = network.get_output_embeddings().register_forward_pre_hook(gather)
    try:
        yield
    finally:
        hook.remove()


def record_prefix(network: Any, embeddings_nH: Tensor, before: Prefix | None = None) -> Prefix:
    """Run the prefix once at batch 1; gradients flow into its embeddings, and into `before`.

    Args:
        network (Any): The model.
        embeddings_nH (Tensor): float32 [n, H]; n may be 0.
        before (Prefix | None): Keys and values that the embeddings come behind; they become the
            beginning of the prefix.
    """
    length = embeddings_nH.shape[0]
    if length == 0:
        return before or Prefix([], 0)
    device, dtype = device_of(network), network.get_input_embeddings().compute_dtype
    num_before = 0 if before is None else before.length
    cache = PrefixCache(before, is_recording=True)
    with head_reads(network, None):
        network(
            inputs_embeds=embeddings_nH.to(device, dtype).unsqueeze(0),
            attention_mask=causal_mask(network, num_before, length),
            position_ids=torch.arange(num_before, num_before + length, device=device).unsqueeze(0),
            past_key_values=cache,
            use_cache=True,
        )
    return Prefix(cache.recorded, num_before + length)
