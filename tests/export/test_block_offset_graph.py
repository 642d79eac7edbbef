"""GGUF's grids in the graph: block offsets as columns or in floats, others as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from export.blobs import BlobFile
from export.nodes import NodeWriter
from export.offset_columns import extend
from export.projection import project
from export.stored_weight import stack_rows, store, store_matrix
from quant.gguf_blocks import BLOCK_TYPES, import_blocks
from quant.packing import QuantTensor, unpack_codes
from tests.gguf_values import random_blocks


def make_weight(kind: str, num_rows: int, num_columns: int) -> tuple[QuantTensor, np.ndarray]:
    blocks = random_blocks(kind, num_rows, num_columns)
    dequantised = gguf.dequantize(blocks, gguf.GGMLQuantizationType[kind])
    return import_blocks(blocks, kind, num_columns), dequantised


def quantised_weight(num_rows: int, num_columns: int) -> tuple[QuantTensor, np.ndarray]:
    """Weights as a model has them, in Q4_1: of both signs, so that no offset is far from a code."""
    values = np.random.default_rng(3).normal(size=(num_rows, num_columns)).astype(np.float32)
    kind = gguf.GGMLQuantizationType.Q4_1
    blocks = gguf.quants.quantize(values, kind)
    return import_blocks(blocks, "Q4_1", num_columns), gguf.dequantize(blocks, kind)


def product(
    folder: Path,
    weight: QuantTensor,
    precision: str,
    inputs: np.ndarray,
    write: Callable[[BlobFile, str, QuantTensor], None] = store_matrix,
) -> np.ndarray:
    blobs = BlobFile(folder / "weights.data")
    write(blobs, "w", weight)
    blobs.close()
    nodes = NodeWriter(blobs)
    nodes.add(
        "Identity", [project(nodes, "w", weight, "x", is_exact=precision == "exact")], outputs=["y"]
    )
    graph = helper.make_graph(
        nodes.nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "S", weight.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializer=list(nodes.initializers.values()),
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(model, folder / "one.onnx")
    session = onnxruntime.InferenceSession(str(folder / "one.onnx"))
    return np.asarray(session.run(["y"], {"x": inputs})[0])


@pytest.mark.parametrize("kind", sorted(BLOCK_TYPES))
@pytest.mark.parametrize(("precision", "tolerance"), [("exact", 1e-5), ("fast", 2e-2)])
def test_a_gguf_weight_in_the_graph_equals_its_dequantised_product(
    tmp_path: Path, kind: str, precision: str, tolerance: float
) -> None:
    weight, dequantised = make_weight(kind, 96, 256)
    inputs = np.random.default_rng(1).normal(size=(2, 3, 256)).astype(np.float32)
    expected = inputs.astype(np.float64) @ dequantised.T.astype(np.float64)
    got = product(tmp_path, weight, precision, inputs)
    assert np.abs(got - expected).max() / np.abs(expected).max() < tolerance


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_offsets_in_floats_and_in_columns_give_the_same_product(
    tmp_path: Path, precision: str
) -> None:
    weight, dequantised = quantised_weight(96, 1536)
    # Offsets multiply the means of blocks.
    inputs = np.random.default_rng(1).normal(0.3, 1.0, size=(1, 5, 1536)).astype(np.float32)
    expected = inputs.astype(np.float64) @ dequantised.T.astype(np.float64)
    in_columns = product(tmp_path, weight, precision, inputs)
    in_floats = product(tmp_path, weight, precision, inputs, store)
    for got in (in_columns, in_floats):
        error = np.sqrt(np.square(got - expected).mean() / np.square(expected).mean())
        assert error < (1e-5 if precision == "exact" else 1e-2)


def test_the_columns_of_a_weight_are_its_offsets_to_a_thirtieth_of_a_step() -> None:
    weight, dequantised = quantised_weight(32, 1536)
    extended = extend(weight)
    num_blocks = weight.scales.shape[1]
    codes = unpack_codes(extended.codes, 4).double()
    packed = extended.zero_points
    zero_points = torch.stack([packed & 15, packed >> 4], -1).flatten(1)[:, : codes.shape[1], None]
    values = ((codes - zero_points) * extended.scales.double()[..., None]).numpy()
    own, behind = values[:, :num_blocks], values[:, num_blocks:].reshape(32, -1)
    assert np.array_equal(extended.codes[:, :num_blocks].numpy(), weight.codes.numpy())
    columns = behind[:, : 2 * num_blocks].reshape(32, 2, num_blocks).sum(1)
    restored = own + columns[..., None] / 32
    error = np.abs(restored - dequantised.reshape(restored.shape)).max(-1)
    largest_step = weight.scales.abs().max(1, keepdim=True).values.numpy()
    assert (error / largest_step).max() < 1 / 28
    assert not behind[:, 2 * num_blocks :].any()


def test_stacked_weights_are_their_rows_one_after_the_other() -> None:
    weight, _ = make_weight("Q4_1", 32, 64)
    stacked = stack_rows([weight, weight])
    assert stacked.shape == (64, 64)
    twice = torch.cat([weight.dequantize()] * 2)
    assert torch.equal(stacked.dequantize(), twice)
