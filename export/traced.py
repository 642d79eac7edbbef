"""A model of any family as an ONNX graph, traced through transformers' own code.

torch's exporter follows one forward pass; frozen layers stand in the trace as operators of our own
(`export.stand_ins`), which `export.traced_graph` turns into onnxruntime's. Masks, positions and
attention are what transformers computes: plain products and a cache that grows by concatenation,
where `export.graph` has one operator that appends in place.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from onnx import ModelProto
from torch import Tensor
from torch.export import Dim
from torch.onnx.errors import OnnxExporterError
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from export.embedding import check_width
from export.errors import ExportError, UnsupportedModelError
from export.family import MAX_CONTEXT
from export.interface import OPSET, input_names, output_names
from export.shape import DecoderShape
from export.stand_ins import stand_ins
from export.traced_decoder import TracedDecoder
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
        decoder = TracedDecoder(network, shape).eval()
        return Trace(_traced(decoder, shape, network.config.model_type), shape)


def _traced(decoder: TracedDecoder, shape: DecoderShape, model_type: str) -> ModelProto:
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
        ids = torch.tensor([[0, 1]])
        mask = torch.ones_like(ids)
        network(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
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
