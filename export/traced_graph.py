"""A trace as the two graphs of a bundle: floats into the data file, own operators into nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from export.blobs import BlobFile
from export.embedding import look_up
from export.errors import UnsupportedModelError
from export.interface import OPSET, assemble
from export.nodes import NodeWriter
from export.precisions import Precision
from export.projection import project
from export.shape import DecoderShape
from export.stand_ins import DOMAIN, LOOK_UP, PRODUCT, WEIGHT
from export.stored_weight import deployable, store, store_matrix
from export.traced import Trace
from quant.packing import FrozenWeight, QuantTensor

# Smaller constants stay in the graph file, where onnxruntime reads shapes off them.
_FIRST_EXTERNAL_BYTES = 1024


@dataclass(frozen=True)
class StoredTrace:
    """A trace whose tensors are in the data file.

    Attributes:
        graph: The traced nodes and the constants that stay with them.
        shape: The decoder's numbers.
        blobs: The data file.
        weights: The frozen weights by the name they are stored under.
        floats: What the trace calls the float tensors that are stored.
    """

    graph: GraphProto
    shape: DecoderShape
    blobs: BlobFile
    weights: dict[str, QuantTensor]
    floats: frozenset[str]

    def build(self, precision: Precision) -> ModelProto:
        """The graph in a precision.

        Args:
            precision (Precision): `fast` or `exact`.
        """
        nodes = NodeWriter(self.blobs)
        for tensor in self.graph.initializer:
            if tensor.name in self.floats:
                nodes.external(tensor.name)
            else:
                nodes.initializers[tensor.name] = tensor
        for node in self.graph.node:
            if node.domain == DOMAIN:
                self._write(nodes, node, precision)
            else:
                nodes.nodes.append(_bare(node))
        return assemble(nodes, self.shape, f"ptune_traced_{precision}")

    def _write(self, nodes: NodeWriter, node: NodeProto, precision: Precision) -> None:
        """A frozen product or embedding; onnxruntime drops the `Identity` that names its result."""
        name = _weight_name(node)
        weight, source = self.weights[name], node.input[0]
        if node.op_type == PRODUCT:
            values = project(nodes, name, weight, source, is_exact=precision == "exact")
        else:
            values = look_up(nodes, name, weight, source)
        nodes.add("Identity", [values], outputs=list(node.output))


def store_trace(
    trace: Trace,
    weights: Mapping[str, FrozenWeight | Tensor],
    blobs: BlobFile,
    on_progress: Callable[[int, int], None] | None = None,
) -> StoredTrace:
    """Write all tensors of a trace into the data file.

    Args:
        trace (Trace): The trace.
        weights (Mapping[str, FrozenWeight | Tensor]): The model's frozen weights by name.
        blobs (BlobFile): The data file to fill.
        on_progress (Callable[[int, int], None] | None): Called with weights done and their number.

    Raises:
        UnsupportedModelError: The trace has operators that onnxruntime does not know.
    """
    _check_operators(trace.model)
    graph = trace.model.graph
    names = dict.fromkeys(_weight_name(node) for node in graph.node if node.domain == DOMAIN)
    read_by_row = {_weight_name(node) for node in graph.node if node.op_type == LOOK_UP}
    stored: dict[str, QuantTensor] = {}
    for name in names:
        weight = weights[name]
        assert not isinstance(weight, Tensor)
        stored[name] = deployable(weight)
        write = store if name in read_by_row else store_matrix
        write(blobs, name, stored[name])
        if on_progress:
            on_progress(len(stored), len(names))
    return StoredTrace(graph, trace.shape, blobs, stored, _store_floats(graph, blobs))


def _store_floats(graph: GraphProto, blobs: BlobFile) -> frozenset[str]:
    floats = set()
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.ByteSize() >= _FIRST_EXTERNAL_BYTES:
            blobs.add(tensor.name, numpy_helper.to_array(tensor))
            floats.add(tensor.name)
    return frozenset(floats)


def _check_operators(model: ModelProto) -> None:
    """Refuse what is neither of ONNX at our opset nor of our own domain."""
    versions = {item.domain: item.version for item in model.opset_import}
    foreign = {node.domain for node in model.graph.node} - {"", DOMAIN}
    if model.functions or foreign or versions.get("", OPSET) != OPSET:
        names = sorted({*foreign, *(function.domain for function in model.functions)})
        raise UnsupportedModelError(
            f"torch traced the model to opset {versions.get('')} with operators of "
            f"{', '.join(names) or 'ONNX alone'}.",
            f"A bundle holds operators of ONNX at opset {OPSET}; please report the model.",
        )


def _bare(node: NodeProto) -> NodeProto:
    """A node without the files and lines of this machine that torch noted beside it."""
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.ClearField("metadata_props")
    copy.ClearField("doc_string")
    return copy


def _weight_name(node: NodeProto) -> str:
    for attribute in node.attribute:
        if attribute.name == WEIGHT:
            return str(helper.get_attribute_value(attribute).decode())
    raise ValueError(f"node {node.name} names no weight")
