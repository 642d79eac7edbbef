"""One open decoder graph and its key/value cache, without torch.

Legend: S new tokens, T all tokens so far, P virtual tokens, N wanted positions, H hidden,
V vocabulary, L layers, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.cache import FloatArray, open_cache
from export.errors import BundleError, RowError
from export.ort import open_session, ort_value, run_bound
from export.prompts import AnyPrompt, PrefixPrompt
from export.shape import DecoderShape
from export.token_forest import ATTENTION_BIAS, POSITION_IDS, Layout, plain_layout

LOGITS = "logits"
_MAX_CHUNK = 512
_OTHER_SIZES = "The manifest belongs to another graph; export the run again."


class DecoderSession:
    """Runs a decoder graph for one sequence at a time.

    Args:
        graph (Path): The ONNX file.
        shape (DecoderShape): Its numbers.
        num_threads (int): Threads of one operator; 0 for the number of physical cores.
        spin (bool): Whether threads burn their core while they wait within a run.

    Raises:
        BundleError: onnxruntime does not take the graph, or it has other numbers.
    """

    def __init__(
        self, graph: Path, shape: DecoderShape, num_threads: int = 0, spin: bool = True
    ) -> None:
        self.shape = shape
        self._graph = graph
        self._session: Any = open_session(graph, num_threads, spin)
        _check_sizes(self._session, shape, graph)
        self.takes_layout = ATTENTION_BIAS in {node.name for node in self._session.get_inputs()}
        """Whether rows can share a sequence."""
        self._binding: Any = self._session.io_binding()
        self._cache = open_cache(shape, self._binding)
        self._last = ort_value(np.array([[-1]], np.int64))
        self._no_soft_prompt = ort_value(np.zeros((1, shape.hidden_size), np.float32))

    @property
    def capacity(self) -> int:
        """Positions the cache holds at present."""
        return self._cache.capacity

    def forward(
        self,
        ids: Sequence[int],
        position: int,
        wanted: Sequence[int] | None = None,
        soft_prompt: FloatArray | None = None,
        layout: Layout | None = None,
    ) -> FloatArray:
        """Append tokens to the cache and return logits, float32 [N, V].

        Args:
            ids (Sequence[int]): New tokens; ids from V on are rows of the soft prompt.
            position (int): Where they start; the cache before it is kept.
            wanted (Sequence[int] | None): Which of the new tokens to return logits for; None for
                the last.
            soft_prompt (FloatArray | None): float32 [P, H], where ids name virtual tokens.
            layout (Layout | None): Where the new tokens stand and what they see, where
                `takes_layout`; None for one sequence.

        Raises:
            RowError: The sequence is longer than the model's context.
            BundleError: onnxruntime cannot compute the graph.
        """
        if layout is None and wanted is None and self.takes_layout:
            # What each token sees is a matrix of new tokens by all tokens.
            while len(ids) > _MAX_CHUNK:
                self.forward(ids[:_MAX_CHUNK], position, soft_prompt=soft_prompt)
                ids, position = ids[_MAX_CHUNK:], position + _MAX_CHUNK
        total = position + len(ids)
        self._check_length(total)
        self._cache.bind(position, total)
        binding = self._binding
        binding.bind_cpu_input("input_ids", np.asarray([ids], np.int64))
        binding.bind_cpu_input("attention_mask", np.ones((1, total), np.int64))
        # Inputs with a default are not in the list that `bind_cpu_input` looks names up in.
        positions = self._last if wanted is None else ort_value(np.asarray([wanted], np.int64))
        soft = self._no_soft_prompt if soft_prompt is None else ort_value(soft_prompt)
        binding.bind_ortvalue_input("logit_positions", positions)
        binding.bind_ortvalue_input("soft_prompt", soft)
        if self.takes_layout:
            layout = layout or plain_layout(position, len(ids))
            binding.bind_cpu_input(POSITION_IDS, layout.position_ids)
            binding.bind_cpu_input(ATTENTION_BIAS, layout.attention_bias)
        num_wanted = 1 if wanted is None else len(wanted)
        logits_NV: FloatArray = np.empty((num_wanted, self.shape.vocab_size), np.float32)
        place = ("cpu", 0, np.float32, (1, *logits_NV.shape), logits_NV.ctypes.data)
        binding.bind_output(LOGITS, *place)
        run_bound(self._session, binding, self._graph)
        self._cache.keep(total)
        return logits_NV

    def begin(self, prompt: AnyPrompt | None, lead_ids: Sequence[int]) -> int:
        """Put a prompt and the template's lead at the beginning of the cache.

        Args:
            prompt (AnyPrompt | None): None for no prompt.
            lead_ids (Sequence[int]): Template tokens behind it.

        Returns:
            int: The position behind them.

        Raises:
            RowError: They are longer than the model's context.
        """
        start = 0
        ids = list(lead_ids)
        soft_prompt = None
        if isinstance(prompt, PrefixPrompt):
            start = prompt.num_virtual_tokens
            self.restore(prompt.keys_values)
        elif prompt is not None:
            soft_prompt = prompt.embeddings_PH
            vocab_size = self.shape.vocab_size
            ids = [*range(vocab_size, vocab_size + len(soft_prompt)), *ids]
        if ids:
            self.forward(ids, start, soft_prompt=soft_prompt)
        return start + len(ids)

    def prefix(self, length: int) -> FloatArray:
        """A copy of the cache's first rows, float32 [L, 2, heads, length, D]."""
        return self._cache.prefix(length)

    def restore(self, prefix: FloatArray) -> None:
        """Put a prefix, float32 [L, 2, heads, length, D], at the beginning of the cache."""
        self._check_length(prefix.shape[3])
        self._cache.restore(prefix)

    def _check_length(self, needed: int) -> None:
        limit = self.shape.context_length
        if needed > limit:
            raise RowError(
                f"{needed} tokens do not fit into the model's context of {limit}",
                "Shorten the text or ask for fewer new tokens.",
            )


def _check_sizes(session: Any, shape: DecoderShape, graph: Path) -> None:
    """Refuse a graph whose inputs and outputs are not of the manifest's sizes."""
    values = [*session.get_inputs(), *session.get_overridable_initializers()]
    sizes = {value.name: value.shape for value in [*values, *session.get_outputs()]}
    num_layers = sum(name.startswith("past_key_values.") for name in sizes) // 2
    if num_layers != shape.num_layers:
        raise BundleError(
            f"{graph} has {num_layers} layers of keys and values, the manifest {shape.num_layers}.",
            _OTHER_SIZES,
        )
    expected = {LOGITS: {2: shape.vocab_size}, "soft_prompt": {1: shape.hidden_size}}
    for layer in range(num_layers):
        for kind in ("key", "value"):
            cached = {1: shape.num_key_value_heads, 3: shape.head_size}
            expected[f"past_key_values.{layer}.{kind}"] = cached
    for name, places in expected.items():
        found = sizes.get(name)
        for place, size in places.items():
            if found is None or len(found) <= place or found[place] != size:
                raise BundleError(
                    f"{graph} has the sizes {found} at `{name}` instead of {size} in place "
                    f"{place + 1}.",
                    _OTHER_SIZES,
                )
