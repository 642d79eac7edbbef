"""A model of any family as an ONNX graph, traced through transformers' own code.

Legend: B rows, S new tokens, T all tokens so far, K keys (`T` again, counted), P virtual tokens,
N wanted positions, H hidden, V vocabulary, h key/value heads, D head size.

torch's exporter follows one forward pass; frozen layers stand in the trace as operators of our own
(`export.stand_ins`), which `export.traced_graph` turns into onnxruntime's. Masks, positions and
attention are what transformers computes: plain products and a cache that grows by concatenation,
where `export.graph` has one operator that appends in place.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.export import Dim
from torch.onnx.errors import OnnxExporterError
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

from export.embedding import check_width
from export.errors import ExportError, UnsupportedModelError
from export.family import MAX_CONTEXT
from export.interface import OPSET, input_names, output_names
from export.shape import DecoderShape
from export.stand_ins import stand_ins
from quant.packing import FrozenWeight

# Lengths to trace with: all different, so that torch takes none for another.
_NUM_ROWS, _NUM_NEW, _NUM_PAST, _NUM_VIRTUAL, _NUM_WANTED = 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Trace:
    """A traced model.

    Attributes:
        model: The graph, with the operators of our own domain in it.
        shape: Its numbers.
    """

    model: ModelProto
    shape: DecoderShape


def trace(network: Any, weights: Mapping[str, FrozenWeight | Tensor]) -> Trace:
    """Trace a frozen model.

    Args:
        network (Any): transformers causal language model on the CPU in float32, whose matrices are
            `QuantLinear` and `QuantEmbedding`. It is left as it was.
        weights (Mapping[str, FrozenWeight | Tensor]): Its frozen weights by name.

    Raises:
        UnsupportedModelError: The model keeps more than keys and values, or torch cannot trace it.
        ExportError: A package that torch's exporter needs is missing.
    """
    _check_cache(network)
    if importlib.util.find_spec("onnxscript") is None:
        raise ExportError(
            f"A model of the type `{network.config.model_type}` is exported by torch's exporter, "
            "which needs the package `onnxscript`.",
            "`pip install onnxscript` in the environment of ptune.",
        )
    shape = _shape_of(network)
    with torch.no_grad(), stand_ins(network, weights):
        decoder = _Decoder(network, shape).eval()
        return Trace(_traced(decoder, shape, network.config.model_type), shape)


def _traced(decoder: _Decoder, shape: DecoderShape, model_type: str) -> ModelProto:
    inputs = _example(shape)
    dynamic = (
        {0: Dim.DYNAMIC, 1: Dim.DYNAMIC},
        {0: Dim.DYNAMIC, 1: Dim.DYNAMIC},
        [{0: Dim.DYNAMIC, 2: Dim.DYNAMIC}] * (2 * shape.num_layers),
        {0: Dim.DYNAMIC},
        {0: Dim.DYNAMIC, 1: Dim.DYNAMIC},
    )
    try:
        program = torch.onnx.export(
            decoder,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=dynamic,
            input_names=input_names(shape.num_layers),
            output_names=output_names(shape.num_layers),
            verbose=False,
        )
    except OnnxExporterError as error:
        raise UnsupportedModelError(
            f"torch {torch.__version__} cannot trace a model of the type `{model_type}`: "
            f"{_reason(error)}",
            "The run is kept; `ptune eval` answers with it in torch.",
        ) from error
    assert program is not None
    model: ModelProto = program.model_proto
    return model


def _reason(error: BaseException) -> str:
    """The first sentence of what torch stumbled over, below its own report of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


class _Decoder(nn.Module):
    """The inputs and outputs of `export.interface` around a transformers model.

    Args:
        network (Any): The model.
        shape (DecoderShape): Its numbers.
    """

    def __init__(self, network: Any, shape: DecoderShape) -> None:
        super().__init__()
        self.network = network
        self.vocab_size = shape.vocab_size
        self.takes_positions = "position_ids" in inspect.signature(network.forward).parameters

    def forward(
        self,
        input_ids_BS: Tensor,
        attention_mask_BT: Tensor,
        past_BhTD: list[Tensor],
        soft_prompt_PH: Tensor,
        logit_positions_BN: Tensor,
    ) -> tuple[Tensor, ...]:
        """Logits [B, N, V] and the present keys and values [B, h, T, D] of each layer."""
        num_new, num_past = input_ids_BS.shape[1], past_BhTD[0].shape[2]
        # Gathered, so that its length is the number of keys and no other number.
        columns_K = torch.arange(num_past + num_new)
        mask_BK = attention_mask_BT.index_select(1, columns_K)
        positions = {}
        if self.takes_positions:
            positions_BK = (mask_BK.cumsum(1) - 1).clamp(min=0)
            columns_S = torch.arange(num_new) + num_past
            positions = {"position_ids": positions_BK.index_select(1, columns_S)}
        cache = _cache_of(past_BhTD)
        wanted_BN = _wanted(mask_BK, num_past, logit_positions_BN)
        with _head_reads(self.network, wanted_BN):
            output = self.network(
                inputs_embeds=self._embed(input_ids_BS, soft_prompt_PH),
                attention_mask=mask_BK,
                past_key_values=cache,
                use_cache=True,
                **positions,
            )
        present = [part for layer in cache.layers for part in (layer.keys, layer.values)]
        return (output.logits, *present)

    def _embed(self, input_ids_BS: Tensor, soft_prompt_PH: Tensor) -> Tensor:
        """Embeddings of tokens, and rows of the soft prompt for ids from V on: [B, S, H]."""
        is_soft_BS = input_ids_BS >= self.vocab_size
        token_ids = torch.where(is_soft_BS, 0, input_ids_BS)
        soft_ids = torch.where(is_soft_BS, input_ids_BS - self.vocab_size, 0)
        tokens_BSH = self.network.get_input_embeddings()(token_ids)
        soft_BSH = nn.functional.embedding(soft_ids, soft_prompt_PH)
        return torch.where(is_soft_BS.unsqueeze(-1), soft_BSH, tokens_BSH)


def _wanted(mask_BK: Tensor, num_past: int, logit_positions_BN: Tensor) -> Tensor:
    """Which new tokens to return logits for, int64 [B, N]: negative ones count from a row's end."""
    # A short row of a ragged decoding step counts less than one new token; it has one.
    new_B1 = (mask_BK.sum(1, keepdim=True) - num_past).clamp(min=1)
    is_from_end = logit_positions_BN < 0
    return torch.where(is_from_end, logit_positions_BN + new_B1, logit_positions_BN)


@contextmanager
def _head_reads(network: Any, wanted_BN: Tensor) -> Iterator[None]:
    """Let the output head see the wanted positions only."""

    def gather(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_BSH = arguments[0]
        index_BNH = wanted_BN.unsqueeze(-1).expand(-1, -1, hidden_BSH.shape[-1])
        return (hidden_BSH.gather(1, index_BNH), *arguments[1:])

    hook = network.get_output_embeddings().register_forward_pre_hook(gather)
    try:
        yield
    finally:
        hook.remove()


def _cache_of(past_BhTD: list[Tensor]) -> Cache:
    """A cache of transformers that holds a past already: keys and values of each layer in turn."""
    layers = []
    for keys, values in zip(past_BhTD[::2], past_BhTD[1::2], strict=True):
        layer = DynamicLayer()
        layer.dtype, layer.device = keys.dtype, keys.device
        layer.keys, layer.values, layer.is_initialized = keys, values, True
        layers.append(layer)
    return Cache(layers=layers)


def _check_cache(network: Any) -> None:
    """Refuse a model that keeps anything but keys and values, which its own cache says."""
    parameters = set(inspect.signature(network.forward).parameters)
    layers: list[Any] = []
    if {"past_key_values", "attention_mask", "inputs_embeds"} <= parameters:
        layers = DynamicCache(config=network.config.get_text_config(decoder=True)).layers
    kinds = {type(layer) for layer in layers}
    if not kinds or not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        raise UnsupportedModelError(
            f"A model of the type `{network.config.model_type}` keeps more between its tokens than "
            "the keys and values of every layer, which no graph of a bundle holds.",
            "Decoders of attention layers can be exported; state-space and hybrid models cannot.",
        )


def _shape_of(network: Any) -> DecoderShape:
    """The model's numbers; heads and their size are read off a cache that it filled."""
    embedding = network.get_input_embeddings()
    check_width(embedding.embedding_dim)
    cache = DynamicCache()
    with torch.no_grad():
        network(input_ids=torch.tensor([[0, 1]]), past_key_values=cache, use_cache=True)
    sizes = {part.shape for layer in cache.layers for part in (layer.keys, layer.values)}
    if len(sizes) != 1:
        raise UnsupportedModelError(
            f"The keys and values of this {network.config.model_type} model have different shapes: "
            f"{', '.join(str(tuple(size)) for size in sorted(sizes))}.",
            "Models whose layers all keep the same number of heads of one size can be exported.",
        )
    _, num_heads, _, head_size = sizes.pop()
    config = network.config.get_text_config(decoder=True)
    return DecoderShape(
        num_layers=len(cache.layers),
        hidden_size=embedding.embedding_dim,
        num_key_value_heads=num_heads,
        head_size=head_size,
        vocab_size=embedding.num_embeddings,
        context_length=getattr(config, "max_position_embeddings", None) or MAX_CONTEXT,
        cache="grown",
    )


def _example(shape: DecoderShape) -> tuple[Any, ...]:
    """Inputs to trace with, in the order of the graph's."""
    size = (_NUM_ROWS, shape.num_key_value_heads, _NUM_PAST, shape.head_size)
    return (
        torch.zeros((_NUM_ROWS, _NUM_NEW), dtype=torch.int64),
        torch.ones((_NUM_ROWS, _NUM_PAST + _NUM_NEW), dtype=torch.int64),
        [torch.zeros(size) for _ in range(2 * shape.num_layers)],
        torch.zeros((_NUM_VIRTUAL, shape.hidden_size)),
        torch.full((_NUM_ROWS, _NUM_WANTED), -1, dtype=torch.int64),
    )
