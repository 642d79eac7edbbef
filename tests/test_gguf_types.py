"""GGUF files of other types for llama.cpp, as its own tool makes them."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType

from ptune_tui.errors import ModelError
from ptune_tui.worker.bench.answering.gguf_types import Quantiser, Recipe, write_type


@pytest.fixture
def quantiser() -> Quantiser:
    package = pytest.importorskip("xllamacpp")
    return Quantiser(Path(package.__path__[0]))


@pytest.mark.parametrize(
    ("name", "largest_error"),
    [("Q4_0", 0.12), ("Q4_K", 0.09), ("Q5_0", 0.06), ("Q6_K", 0.025), ("Q8_0", 0.01)],
)
def test_blocks_hold_the_matrix(quantiser: Quantiser, name: str, largest_error: float) -> None:
    values = np.random.default_rng(0).normal(size=(6, 512)).astype(np.float32)
    kind = GGMLQuantizationType[name]
    read = gguf.dequantize(quantiser.blocks(values, kind), kind)
    error = float(np.linalg.norm(read - values) / np.linalg.norm(values))
    assert 0 < error < largest_error


def test_blocks_are_those_of_the_gguf_package(quantiser: Quantiser) -> None:
    values = np.random.default_rng(1).normal(size=(4, 96)).astype(np.float32)
    kind = GGMLQuantizationType.Q8_0
    assert np.array_equal(quantiser.blocks(values, kind), gguf.quantize(values, kind))


def test_a_file_in_another_type_keeps_keys_and_vectors(
    quantiser: Quantiser, tmp_path: Path
) -> None:
    source, target = tmp_path / "source.gguf", tmp_path / "target.gguf"
    random = np.random.default_rng(2)
    matrix, vector = random.normal(size=(4, 256)), random.normal(size=8)
    writer = gguf.GGUFWriter(source, "llama")
    writer.add_block_count(1)
    writer.add_token_list(["a", "ü"])
    writer.add_tensor("blk.0.ffn_up.weight", matrix.astype(np.float32))
    writer.add_tensor("output_norm.weight", vector.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_type(source, target, "Q4_K_M", quantiser)
    reader = gguf.GGUFReader(target)
    assert reader.fields["general.architecture"].contents() == "llama"
    assert reader.fields["tokenizer.ggml.tokens"].contents() == ["a", "ü"]
    assert reader.fields["general.file_type"].contents() == 15
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert tensors["blk.0.ffn_up.weight"].tensor_type == GGMLQuantizationType.Q4_K
    read = gguf.dequantize(tensors["blk.0.ffn_up.weight"].data, GGMLQuantizationType.Q4_K)
    assert float(np.linalg.norm(read - matrix) / np.linalg.norm(matrix)) < 0.09
    assert np.array_equal(tensors["output_norm.weight"].data, vector.astype(np.float32))


@pytest.mark.parametrize(
    ("name", "num_columns", "kind"),
    [
        ("token_embd.weight", 576, "Q8_0"),
        ("token_embd.weight", 512, "Q6_K"),
        ("blk.0.attn_q.weight", 576, "Q5_0"),
        ("blk.0.attn_q.weight", 512, "Q4_K"),
        ("blk.0.ffn_down.weight", 1536, "Q6_K"),
        ("blk.9.ffn_down.weight", 1536, "Q4_K"),
        ("blk.11.attn_v.weight", 1536, "Q6_K"),
        ("blk.29.attn_v.weight", 1536, "Q6_K"),
    ],
)
def test_the_recipe_is_that_of_llama_cpp(name: str, num_columns: int, kind: str) -> None:
    recipe = Recipe("Q4_K_M", num_layers=30, is_tied=True)
    assert recipe.kind(name, num_columns).name == kind


def test_a_head_of_its_own_gets_more_bits_than_the_embedding() -> None:
    recipe = Recipe("Q4_0", num_layers=30, is_tied=False)
    assert recipe.kind("output.weight", 512).name == "Q6_K"
    assert recipe.kind("token_embd.weight", 512).name == "Q4_0"


def test_a_binding_without_the_function_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="ggml_quantize_chunk"):
        Quantiser(tmp_path)
