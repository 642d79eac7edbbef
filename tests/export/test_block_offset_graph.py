"""GGUF's grids in the graph: block offsets through the block-sum correction, others as they are."""

from __future__ import annotations

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
from export.projection import project, stack_rows, store
from quant.gguf_blocks import BLOCK_TYPES, import_blocks
from quant.packing import QuantTensor
from tests.gguf_values import random_blocks


def make_weight(kind: str, num_rows: int, num_columns: int) -> tuple[QuantTensor, np.ndarray]:
    blocks = random_blocks(kind, num_rows, num_columns)
    dequantised = gguf.dequantize(blocks, gguf.GGMLQuantizationType[kind])
    return import_blocks(blocks, kind, num_columns), dequantised


def product(folder: Path, weight: QuantTensor, precision: str, inputs: np.ndarray) -> np.ndarray:
    blobs = BlobFile(folder / "weights.data")
    store(blobs, "w", weight)
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


def test_stacked_weights_are_their_rows_one_after_the_other() -> None:
    weight, _ = make_weight("Q4_1", 32, 64)
    stacked = stack_rows([weight, weight])
    assert stacked.shape == (64, 64)
    twice = torch.cat([weight.dequantize()] * 2)
    assert torch.equal(stacked.dequantize(), twice)
