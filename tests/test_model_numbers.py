"""A model's sizes from its configuration: compared with what transformers builds of it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from ptune_tui.errors import ModelError
from ptune_tui.known_models import KNOWN_MODELS, numbers_of
from ptune_tui.model_families import FAMILIES
from ptune_tui.model_numbers import (
    DEFAULT_MODEL_NUMBERS,
    numbers_of_config,
    read_model_numbers,
)

LLAMA_LIKE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 320,
    "pad_token_id": 0,
}
OLDER = {key: value for key, value in LLAMA_LIKE.items() if key != "num_key_value_heads"}
OPT = {key: value for key, value in OLDER.items() if key != "intermediate_size"} | {"ffn_dim": 96}
OPT["max_position_embeddings"] = 128
GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 320, "n_positions": 128}
CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("llama", LLAMA_LIKE),
    ("llama", {**OLDER, "head_dim": 24}),
    ("llama", {**LLAMA_LIKE, "tie_word_embeddings": True, "attention_bias": True}),
    ("llama", {**LLAMA_LIKE, "mlp_bias": True}),
    ("mistral", LLAMA_LIKE),
    ("smollm3", LLAMA_LIKE),
    ("phi3", LLAMA_LIKE),
    ("qwen2", LLAMA_LIKE),
    ("qwen2", {**LLAMA_LIKE, "tie_word_embeddings": True}),
    ("qwen3", LLAMA_LIKE),
    ("qwen3", {**LLAMA_LIKE, "head_dim": 32, "attention_bias": True}),
    ("gemma", LLAMA_LIKE),
    ("gemma2", LLAMA_LIKE),
    ("gemma3_text", {**LLAMA_LIKE, "head_dim": 32}),
    ("gemma3_text", {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}),
    ("gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 320, "n_positions": 128}),
    (
        "gpt2",
        {
            "n_embd": 64,
            "n_layer": 2,
            "n_head": 4,
            "vocab_size": 320,
            "n_positions": 8,
            "n_inner": 80,
        },
    ),
    ("gpt_neox", OLDER),
    ("gpt_neox", {**OLDER, "attention_bias": False, "tie_word_embeddings": True}),
    ("opt", {**OPT, "word_embed_proj_dim": 64}),
    ("opt", {**OPT, "word_embed_proj_dim": 32}),
    (
        "opt",
        {**OPT, "word_embed_proj_dim": 64, "enable_bias": False},
    ),
]


def counted_parameters(family: str, stated: dict[str, Any]) -> int:
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(family, **stated)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("family", "stated"), CONFIGS)
def test_numbers_count_the_parameters_that_transformers_builds(
    family: str, stated: dict[str, Any]
) -> None:
    numbers = numbers_of_config({"model_type": family, **stated}, "config.json")
    assert numbers.num_parameters == counted_parameters(family, stated)
    assert numbers.assumption is None


def test_every_family_is_compared() -> None:
    assert {family for family, _ in CONFIGS} == set(FAMILIES)


def test_published_counts_of_known_models() -> None:
    counts = {name: numbers.num_parameters for name, numbers in KNOWN_MODELS.items()}
    assert counts["SmolLM2-135M"] == 134515008
    assert counts["Qwen2.5-0.5B"] == 494032768
    assert counts["Llama-3.2-1B"] == 1235814400
    assert counts["Qwen2.5-7B"] == 7615616512
    assert counts["Llama-3.1-8B"] == 8030261248
    assert list(counts.values()) == sorted(counts.values())


def test_known_model_is_found_by_its_name_and_hub_id(tmp_path: Path) -> None:
    assert numbers_of("llama-3.2-1b") == KNOWN_MODELS["Llama-3.2-1B"]
    assert numbers_of("meta-llama/Llama-3.2-1B-Instruct") == KNOWN_MODELS["Llama-3.2-1B"]
    assert numbers_of("default") == DEFAULT_MODEL_NUMBERS
    assert numbers_of("nobody/nothing") is None


@pytest.mark.parametrize("stated", [{"model_type": "novel"}, {}])
def test_unknown_family_says_what_is_assumed(stated: dict[str, Any]) -> None:
    numbers = numbers_of_config({**stated, **LLAMA_LIKE}, "config.json")
    assert numbers.assumption is not None
    assert f"`{stated.get('model_type', 'unnamed')}`" in numbers.assumption
    assert "Llama" in numbers.assumption


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"model_type": "mixtral", "num_local_experts": 8}, "mixture of experts"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "encoder"),
        ({"model_type": "qwen3_next", "layer_types": ["linear_attention"]}, "linear_attention"),
        ({"model_type": "mamba", "state_size": 16}, "state-space"),
    ],
)
def test_models_that_cannot_be_trained_are_refused(
    tmp_path: Path, stated: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA_LIKE, **stated}))
    with pytest.raises(ModelError, match=sentence) as refusal:
        read_model_numbers(tmp_path)
    assert "config.json" in refusal.value.message
    assert refusal.value.hint


def test_part_about_text_is_taken_of_a_model_of_several_kinds_of_input(tmp_path: Path) -> None:
    config = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", **LLAMA_LIKE}}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    numbers = read_model_numbers(file)
    assert numbers.num_norm_inputs == 4
    assert numbers.is_tied


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def gguf_header(tensor_names: list[str]) -> bytes:
    values = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        number("llama.block_count", 30),
        number("llama.embedding_length", 576),
        number("llama.feed_forward_length", 1536),
        number("llama.attention.head_count", 9),
        number("llama.attention.head_count_kv", 3),
        text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 3) + bytes(12),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 49152) + text("token") * 49152,
    ]
    tensors = [text(name) + struct.pack("<IQQIQ", 2, 1, 1, 3, 0) for name in tensor_names]
    counts = struct.pack("<IQQ", 3, len(tensors), len(values))
    return b"GGUF" + counts + b"".join(values) + b"".join(tensors)


def test_gguf_header_gives_the_numbers_without_the_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf_header(["token_embd.weight"]))
    assert read_model_numbers(file) == DEFAULT_MODEL_NUMBERS
    file.write_bytes(gguf_header(["token_embd.weight", "output.weight"]))
    assert not read_model_numbers(file).is_tied


def test_config_gives_the_numbers(tmp_path: Path) -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "intermediate_size": 1536,
        "vocab_size": 49152,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_model_numbers(tmp_path) == DEFAULT_MODEL_NUMBERS
    (tmp_path / "config.json").write_text(json.dumps({"text_config": config}))
    assert read_model_numbers(tmp_path) == DEFAULT_MODEL_NUMBERS


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 40, gguf_header([])[:200]])
def test_cut_or_foreign_gguf_is_an_error_that_names_the_file(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.gguf"):
        read_model_numbers(file)


def test_config_without_a_size_names_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"num_attention_heads": 4}')
    with pytest.raises(ModelError, match="hidden_size"):
        read_model_numbers(tmp_path)
