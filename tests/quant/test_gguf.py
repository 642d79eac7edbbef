from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as GGMLType

from quant.errors import QuantError
from quant.gguf_blocks import BLOCK_TYPES, import_blocks
from quant.gguf_file import read_gguf
from quant.int4 import quantize
from quant.loading import load
from quant.packing import QuantTensor
from quant.weights import INT4, INT8
from tests.gguf_values import random_blocks
from tests.quant.conftest import SIZES, float_twin, logits

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def same_bits(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bool:
    return bool((left.view(np.int32) == right.view(np.int32)).all())


@pytest.mark.parametrize("type_name", BLOCK_TYPES)
def test_blocks_read_as_the_gguf_package_reads_them(type_name: str) -> None:
    blocks = random_blocks(type_name, 9, 768)
    blocks[2] = 0
    expected = gguf.dequantize(blocks, GGMLType[type_name])
    imported = import_blocks(blocks, type_name, 768)
    assert same_bits(imported.dequantize().numpy(), expected)
    are_half = torch.equal(imported.scales.half().float(), imported.scales)
    assert are_half is imported.scales_are_half


def gguf_name(name: str) -> str:
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return f"{NAMES[stem]}.{kind}"
    _, _, number, part = stem.split(".", 3)
    return f"blk.{number}.{NAMES[part]}.{kind}"


def llama_cpp_order(name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The row order in which llama.cpp's converter writes q and k."""
    heads = {"q_proj": SIZES["num_attention_heads"], "k_proj": SIZES["num_key_value_heads"]}
    for part, num_heads in heads.items():
        if part in name:
            halves = values.reshape(num_heads, 2, -1, values.shape[-1])
            return halves.swapaxes(1, 2).reshape(values.shape)
    return values


@pytest.fixture
def write_gguf(tmp_path: Path) -> Callable[..., Path]:
    """Writes a transformers llama as llama.cpp's converter does."""

    def write(
        model: Any,
        matrix_type: str,
        *,
        embedding_type: str = "Q8_0",
        down_type: str | None = None,
        architecture: str = "llama",
        extra: Callable[[Any], None] = lambda _: None,
    ) -> Path:
        path = tmp_path / "tiny.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_context_length(SIZES["max_position_embeddings"])
        config = model.config
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(SIZES["num_hidden_layers"])
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(SIZES["num_attention_heads"])
        writer.add_head_count_kv(SIZES["num_key_value_heads"])
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_rope_freq_base(10000.0)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([f"tøken{index}" for index in range(SIZES["vocab_size"])])
        writer.add_token_types([1] * SIZES["vocab_size"])
        writer.add_eos_token_id(2)
        extra(writer)
        for name, parameter in model.named_parameters():
            values = llama_cpp_order(name, parameter.detach().numpy())
            is_vocabulary = "embed" in name or "lm_head" in name
            kind = GGMLType[embedding_type if is_vocabulary else matrix_type]
            if down_type is not None and "down_proj" in name:
                kind = GGMLType[down_type]
            if values.ndim == 1:
                kind = GGMLType.F32
            # The gguf package reads these types and cannot write them.
            is_random = kind.name in ("Q4_K", "Q6_K")
            data = (
                random_blocks(kind.name, *values.shape)
                if is_random
                else gguf.quants.quantize(values, kind)
            )
            writer.add_tensor(gguf_name(name), data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


@pytest.mark.parametrize("type_name", ["Q4_0", "Q4_1", "Q5_0", "Q8_0"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_equals_transformers_with_the_same_weights(
    make_model: Callable[..., Any], write_gguf: Callable[..., Path], type_name: str, tied: bool
) -> None:
    path = write_gguf(make_model(tie_word_embeddings=tied), type_name)
    loaded = load(path)
    assert loaded.config.tie_word_embeddings is tied
    assert ("lm_head.weight" in loaded.weights) is not tied
    assert loaded.report.relative_error is None
    assert loaded.report.source == "gguf"
    torch.testing.assert_close(logits(loaded.model), logits(float_twin(loaded)))


def test_a_model_equals_what_transformers_reads_from_the_file(
    make_model: Callable[..., Any], write_gguf: Callable[..., Path]
) -> None:
    path = write_gguf(make_model(tie_word_embeddings=True), "Q4_1")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    torch.testing.assert_close(logits(load(path).model), logits(theirs))


def test_a_mix_of_k_types_equals_what_transformers_reads_from_the_file(
    make_model: Callable[..., Any], write_gguf: Callable[..., Path]
) -> None:
    sizes = {"hidden_size": 256, "intermediate_size": 256, "head_dim": 64}
    model = make_model(tie_word_embeddings=True, **sizes)
    path = write_gguf(model, "Q4_K", embedding_type="Q6_K", down_type="Q6_K")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    loaded = load(path)
    expected = theirs.state_dict()
    for name, weight in loaded.weights.items():
        floats = weight if isinstance(weight, torch.Tensor) else weight.dequantize()
        assert torch.equal(floats, expected[name]), name
    layer = "model.layers.1."
    specs = {name: weight.spec for name, weight in loaded.weights.items() if "proj" in name}  # type: ignore[union-attr]
    assert specs[f"{layer}mlp.down_proj.weight"] == BLOCK_TYPES["Q6_K"].spec
    assert specs[f"{layer}self_attn.q_proj.weight"] == BLOCK_TYPES["Q4_K"].spec


@pytest.mark.parametrize("type_name", ["F32", "F16", "BF16"])
def test_floats_in_the_file_are_quantised(
    make_model: Callable[..., Any], write_gguf: Callable[..., Path], type_name: str
) -> None:
    model = make_model(tie_word_embeddings=True)
    loaded = load(write_gguf(model, type_name, embedding_type=type_name))
    dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[type_name]
    for name in ("model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight"):
        original = model.get_parameter(name).detach().to(dtype)
        weight = loaded.weights[name]
        assert isinstance(weight, QuantTensor)
        expected = quantize(original, INT8 if "embed" in name else INT4)
        assert torch.equal(weight.codes, expected.codes)
        assert torch.equal(weight.scales, expected.scales)


def test_the_header_is_read_as_the_gguf_package_reads_it(
    make_model: Callable[..., Any], write_gguf: Callable[..., Path]
) -> None:
    path = write_gguf(make_model(tie_word_embeddings=True), "Q4_0")
    ours, theirs = read_gguf(path), gguf.GGUFReader(path)
    assert ours.keys["tokenizer.ggml.eos_token_id"] == 2
    assert "tokenizer.ggml.tokens" not in ours.keys
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        mine = ours.tensors[tensor.name]
        assert mine.type_name == tensor.tensor_type.name
        assert list(mine.shape) == list(reversed(tensor.shape.tolist()))
        assert mine.data_ND.tobytes() == tensor.data.tobytes()


def test_a_type_that_is_not_read_is_named(
    make_model: Callable[..., Any], write_gguf: Callable[..., Path]
) -> None:
    path = write_gguf(make_model(tie_word_embeddings=True), "MXFP4")
    with pytest.raises(QuantError, match=r"blk\.0\..*MXFP4") as caught:
        load(path)
    assert "Q4_0, Q4_1, Q5_0, Q8_0, Q4_K, Q6_K, F32" in caught.value.hint


def test_another_architecture_is_refused(
    make_model: Callable[..., Any], write_gguf: Callable[..., Path]
) -> None:
    path = write_gguf(make_model(tie_word_embeddings=True), "Q4_0", architecture="gemma2")
    with pytest.raises(QuantError, match="gemma2") as caught:
        load(path)
    assert "llama" in caught.value.hint


def test_scaled_rotary_frequencies_are_refused(
    make_model: Callable[..., Any], write_gguf: Callable[..., Path]
) -> None:
    def add_factors(writer: Any) -> None:
        writer.add_tensor("rope_freqs.weight", np.ones(8, dtype=np.float32))

    path = write_gguf(make_model(tie_word_embeddings=True), "Q4_0", extra=add_factors)
    with pytest.raises(QuantError, match="rotary"):
        load(path)


@pytest.mark.parametrize("length", [0, 3, 20, 500, 5000])
def test_a_file_that_is_cut_off_is_refused(
    make_model: Callable[..., Any], write_gguf: Callable[..., Path], length: int
) -> None:
    path = write_gguf(make_model(tie_word_embeddings=True), "Q4_0")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(QuantError, match=r"tiny\.gguf: not a readable GGUF file"):
        load(path)


def test_a_file_with_another_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK" * 100)
    with pytest.raises(QuantError, match="not a readable GGUF file"):
        load(path)
