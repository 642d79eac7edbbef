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
from export.graph import build_graph, can_take_layout, shape_of
from export.precisions import Precision
from export.projection import BlockProducts
from export.rotary import rotary_tables
from export.rowwise import Loudness, store_integers
from export.shape import DecoderShape
from export.stored_model import StoredModel, store_model
from quant.packing import FrozenWeight

Weights = Mapping[str, FrozenWeight | Tensor]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Graphs:
    """A model whose tensors are in the data file, and its graphs to be made.

    Attributes:
        shape: What a runtime needs to know of them.
        build: The graph of `fast` or `exact`.
        refusal: Why they were traced; None where they are written node by node.
        build_throughput: Fills the data file of `throughput` and makes its graph; None where they
            were traced.
    """

    shape: DecoderShape
    build: Callable[[Precision], ModelProto]
    refusal: str | None
    build_throughput: Callable[[Loudness, BlobFile], ModelProto] | None = None


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
        written, integers = partial(_written, stored), partial(_written_throughput, stored)
        return Graphs(shape_of(spec), written, None, integers)
    return trace_graphs(network, weights, blobs, on_progress, refusal=refusal)


def _written(stored: StoredModel, precision: Precision) -> ModelProto:
    return build_graph(stored, BlockProducts(stored.weights, is_exact=precision == "exact"))


def _written_throughput(stored: StoredModel, loudness: Loudness, blobs: BlobFile) -> ModelProto:
    products = store_integers(stored, loudness, blobs)
    return build_graph(stored, products, [blobs], has_layout=can_take_layout(stored.spec))


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
