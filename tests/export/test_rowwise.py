"""The `throughput` graph: row-wise integers, near torch, and rows that share a sequence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from export.errors import UnsupportedModelError
from export.graph import can_take_layout
from export.projection import BlockProducts
from export.rowwise import RowwiseProducts
from export.token_forest import Chain, TokenForest
from tests.export.test_graph import IDS, MODELS, Case, loudness, relative_error

ROWS = [[7, 3, 55, 21], [99, 42], [13, 8, 64, 31, 5, 77], [1]]


@pytest.fixture(params=sorted(MODELS))
def throughput(tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    return Case(tmp_path, request.param, "int4", "throughput")


@pytest.fixture
def llama(tmp_path: Path) -> Case:
    return Case(tmp_path, "llama-tied", "int4", "throughput")


def test_every_family_is_near_torch_in_one_chunk_and_in_several(throughput: Case) -> None:
    whole = throughput.session.forward(IDS, 0, wanted=range(len(IDS)))
    assert cosine(whole, throughput.expected(IDS)) > 0.99
    throughput.session.forward(IDS[:4], 0)
    rest = throughput.session.forward(IDS[4:], 4, wanted=range(len(IDS) - 4))
    if throughput.spec.long_rotary_from is not None:
        return  # a short chunk is rotated as a short text
    # Rows of activations are quantised one by one, so how they are cut changes nothing.
    assert relative_error(rest, whole[4:]) < 1e-3


def test_a_product_equals_the_same_integers_in_float64(llama: Case, tmp_path: Path) -> None:
    weight = llama.loaded.weights["model.layers.0.mlp.down_proj.weight"].dequantize().double()
    values = torch.randn(6, weight.shape[1], generator=torch.Generator().manual_seed(1)).double()
    values[:, 5] *= 50
    expected = int8_product(values, weight, loud=[5, *range(92, 95)])
    got = run_one_product(
        tmp_path, llama, "model.layers.0.mlp.down", values.float().numpy(), loud=[5, *range(92, 95)]
    )
    # A code that lies between two integers may go the other way in float32.
    assert relative_error(got, expected.numpy()) < 2e-3
    assert np.median(np.abs(got - expected.numpy())) < 1e-6


def cosine(got: np.ndarray, expected: np.ndarray) -> float:
    return float((got * expected).sum() / np.linalg.norm(got) / np.linalg.norm(expected))


def int8_product(values: torch.Tensor, weight: torch.Tensor, loud: list[int]) -> torch.Tensor:
    """The definition, in float64: rows and output channels in 127 levels, loud channels exact."""
    quiet = values.clone()
    quiet[:, loud] = 0
    peaks = quiet.abs().amax(1, keepdim=True)
    scales = weight.abs().amax(1, keepdim=True) / 127
    codes = (quiet / peaks * 127).round()
    product = codes @ (weight / scales).round().T * (peaks / 127) * scales.T
    return product + values[:, loud] @ weight[:, loud].T


def run_one_product(
    folder: Path, case: Case, name: str, values: np.ndarray, loud: list[int]
) -> np.ndarray:
    """A graph of this product alone."""
    import onnxruntime
    from onnx import TensorProto, helper

    from export.blobs import BlobFile
    from export.nodes import NodeWriter
    from export.rowwise import Inputs
    from export.stored_weight import deployable
    from quant.int8 import int8_weight

    module = f"{name.replace('mlp.down', 'mlp.down_proj')}.weight"
    weight = deployable(case.loaded.weights[module])  # type: ignore[arg-type]
    integers = int8_weight([weight], loud)
    blobs = BlobFile(folder / "one.data")
    blobs.add(f"{name}.integers", np.ascontiguousarray(integers.codes_NK.t().numpy()))
    blobs.add(f"{name}.integer_scales", integers.scales_N.numpy())
    blobs.add(f"{name}.loud_weights", integers.outlier_weights_nN.numpy())
    blobs.close()
    nodes = NodeWriter(blobs)
    nothing = BlockProducts({}, True)
    inputs = {name: Inputs(weight.shape[1], loud)}
    products = RowwiseProducts(inputs, frozenset(), floats=nothing, others=nothing)
    output = products.project(nodes, name, "input")
    nodes.add("Identity", [output], outputs=["output"])
    graph = helper.make_graph(
        nodes.nodes,
        "product",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, "S", weight.shape[1]])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, "S", weight.shape[0]])],
        initializer=list(nodes.initializers.values()),
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 10
    (folder / "one.onnx").write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(
        str(folder / "one.onnx"), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"input": values[None]})[0][0])


def test_rows_that_share_a_sequence_get_the_logits_of_their_own(throughput: Case) -> None:
    session = throughput.session
    if not can_take_layout(throughput.spec):
        assert not session.takes_layout
        return
    lead = [50, 60]
    expected = []
    for row in ROWS:
        session.forward(lead, 0)
        expected.append(session.forward(row, 2, wanted=range(len(row))))
    session.forward(lead, 0)
    layout = TokenForest(2).extend([Chain(len(row)) for row in ROWS])
    ids = [token for row in ROWS for token in row]
    got = session.forward(ids, 2, wanted=range(len(ids)), layout=layout)
    assert relative_error(got, np.concatenate(expected)) < 1e-3


def test_branches_behind_a_row_see_the_row_and_not_each_other(llama: Case) -> None:
    session = llama.session
    lead, row, branches = [50, 60], [7, 3, 55], [[21, 9], [99]]
    expected = []
    for branch in branches:
        session.forward([*lead, *row], 0)
        expected.append(session.forward(branch, 5, wanted=range(len(branch))))
    session.forward(lead, 0)
    forest = TokenForest(2)
    session.forward([*ROWS[1], *row], 2, layout=forest.extend([Chain(2), Chain(3)]))
    layout = forest.extend([Chain(2, parent=4), Chain(1, parent=4)])
    got = session.forward([21, 9, 99], 7, wanted=range(3), layout=layout)
    assert relative_error(got, np.concatenate(expected)) < 1e-3


def test_positions_and_sight_of_a_forest() -> None:
    forest = TokenForest(2)
    first = forest.extend([Chain(2), Chain(1)])
    assert first.position_ids.tolist() == [[2, 3, 2]]
    assert (first.attention_bias[0, 0] == 0).tolist() == [
        [True, True, True, False, False],
        [True, True, True, True, False],
        [True, True, False, False, True],
    ]
    second = forest.extend([Chain(1, parent=1), Chain(1, parent=2)])
    assert second.position_ids.tolist() == [[4, 3]]
    assert (second.attention_bias[0, 0] == 0).tolist() == [
        [True, True, True, True, False, True, False],
        [True, True, False, False, True, False, True],
    ]


def test_a_window_over_the_cache_refuses_a_layout(case_of: Callable[..., Any]) -> None:
    from export.blobs import BlobFile
    from export.family import decoder_spec
    from export.graph import build_graph
    from export.rotary import rotary_tables
    from export.stored_model import store_model

    case = case_of("mistral-window")
    spec = decoder_spec(case.loaded.config)
    blobs = BlobFile(case.path.parent / "again.data")
    tables = rotary_tables(case.loaded.model.model.rotary_emb, spec)
    stored = store_model(spec, case.loaded.weights, tables, blobs)
    blobs.close()
    with pytest.raises(UnsupportedModelError, match="sliding window"):
        build_graph(stored, BlockProducts(stored.weights, True), has_layout=True)


@pytest.fixture
def case_of(tmp_path: Path) -> Callable[..., Case]:
    return lambda kind: Case(tmp_path, kind, "int4", "exact")


def test_the_loudest_channels_stay_in_floats(llama: Case) -> None:
    heard = loudness(llama.loaded.model)["model.layers.1.mlp.gate_proj"]
    graph = onnx.load(llama.path, load_external_data=False).graph
    constants = {item.name: item for item in graph.initializer}
    chosen = [
        onnx.numpy_helper.to_array(item).tolist()
        for name, item in constants.items()
        if name.endswith("loud_channels")
    ]
    assert sorted(heard.topk(4).indices.tolist()) in chosen


def test_the_last_product_of_the_first_and_last_layer_stays_in_floats(llama: Case) -> None:
    graph = onnx.load(llama.path, load_external_data=False).graph
    integers = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert len(integers) == 2 * 3  # query, key and value in one; gate and up in one
    in_floats = {
        node.input[1]
        for node in graph.node
        if node.op_type == "MatMulNBits"
        and {item.name: item.i for item in node.attribute}["accuracy_level"] == 0
    }
    assert in_floats == {f"model.layers.{layer}.mlp.down.codes" for layer in (0, 1)}
