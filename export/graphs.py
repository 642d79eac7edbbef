"""The graphs of a bundle: written node by node where the family is covered, else traced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from onnx import ModelProto
from torch import Tensor

from export.blobs import BlobFile
from export.errors import UnsupportedModelError
from export.family import check_direction, decoder_spec
from export.graph import build_graph, shape_of
from export.projection import Precision
from export.rotary import rotary_tables
from export.shape import DecoderShape
from export.stored_model import store_model
from quant.packing import FrozenWeight

Weights = Mapping[str, FrozenWeight | Tensor]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Graphs:
    """A model whose tensors are in the data file, and its graphs to be made.

    Attributes:
        shape: What a runtime needs to know of them.
        build: The graph of a precision.
        refusal: Why they were traced; None where they are written node by node.
    """

    shape: DecoderShape
    build: Callable[[Precision], ModelProto]
    refusal: str | None


def store_graphs(
    network: Any, weights: Weights, blobs: BlobFile, on_progress: Progress | None = None
) -> Graphs:
    """Write a model's tensors into the data file, however its graphs are made.

    Args:
        network (Any): The frozen transformers model.
        weights (Weights): Its frozen weights by name.
        blobs (BlobFile): The data file to fill.
        on_progress (Progress | None): Called with parts stored and their number.

    Raises:
        UnsupportedModelError: The model can neither be written nor traced.
        ExportError: A package that tracing needs is missing.
    """
    check_direction(network.config)
    try:
        spec = decoder_spec(network.config)
        tables = rotary_tables(network.model.rotary_emb, spec)
    except UnsupportedModelError as error:
        refusal = error.message
    else:
        stored = store_model(spec, weights, tables, blobs, on_progress)
        return Graphs(shape_of(spec), partial(build_graph, stored), None)
    return trace_graphs(network, weights, blobs, on_progress, refusal=refusal)


def trace_graphs(
    network: Any,
    weights: Weights,
    blobs: BlobFile,
    on_progress: Progress | None = None,
    *,
    refusal: str,
) -> Graphs:
    """The same by tracing, whatever the family.

    Args:
        network (Any): The frozen transformers model.
        weights (Weights): Its frozen weights by name.
        blobs (BlobFile): The data file to fill.
        on_progress (Progress | None): Called with parts stored and their number.
        refusal (str): Why.

    Raises:
        UnsupportedModelError: The model cannot be traced.
        ExportError: A package that tracing needs is missing.
    """
    # torch's exporter takes a second to import, and most models do not need it.
    from export.traced import trace
    from export.traced_graph import store_trace

    stored = store_trace(trace(network, weights), weights, blobs, on_progress)
    return Graphs(stored.shape, stored.build, refusal)
