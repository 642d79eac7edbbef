"""What the machine has, a model's sizes, and the memory estimate."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
from pathlib import Path
from typing import Literal

import pytest

from ptune_tui import hardware
from ptune_tui.errors import ModelError
from ptune_tui.model_numbers import DEFAULT_MODEL_NUMBERS, read_model_numbers


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


def estimate(kernel: Literal["stream", "cached"] = "stream", **changes: int) -> int:
    sizes = {"batch_size": 8, "num_row_tokens": 64, "num_virtual_tokens": 20, **changes}
    return hardware.estimate_training_memory(DEFAULT_MODEL_NUMBERS, kernel=kernel, **sizes)


def test_machine_says_what_it_has() -> None:
    machine = hardware.machine()
    assert machine.num_usable_cores is None or machine.num_usable_cores >= 1
    assert machine.total_memory_bytes is not None
    assert machine.available_memory_bytes is not None
    assert 0 < machine.available_memory_bytes <= machine.total_memory_bytes


def test_missing_or_odd_graphics_tool_gives_no_accelerator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert hardware.machine().accelerator is None
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(hardware, "_output", lambda _: "Some Card, [N/A], [N/A]")
    assert hardware.machine().accelerator is None
    monkeypatch.setattr(hardware, "_output", lambda _: "Some Card, 1000, 900")
    card = hardware.machine().accelerator
    assert card == hardware.Accelerator("Some Card", 1000 << 20, 900 << 20)


def test_free_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert hardware.free_disk_bytes(tmp_path / "a" / "b") is not None


def test_estimate_grows_with_everything_that_takes_memory() -> None:
    smallest = estimate()
    assert estimate("cached") > smallest
    assert estimate(batch_size=16) > smallest
    assert estimate(num_row_tokens=128) > smallest
    assert estimate(num_virtual_tokens=100) > smallest
    untied = dataclasses.replace(DEFAULT_MODEL_NUMBERS, is_tied=False)
    assert untied.num_vocabulary_weights == 2 * DEFAULT_MODEL_NUMBERS.num_vocabulary_weights


def test_default_model_has_its_135_million_weights() -> None:
    numbers = DEFAULT_MODEL_NUMBERS
    assert round((numbers.num_layer_weights + numbers.num_vocabulary_weights) / 1e6, 1) == 134.5


@pytest.mark.parametrize(
    ("estimated", "answer"), [(79, "fits"), (95, "tight"), (101, "does not fit")]
)
def test_fit_leaves_a_fifth_of_room(estimated: int, answer: str) -> None:
    assert hardware.fit(estimated, 100) == answer


def test_gguf_header_gives_the_numbers_without_the_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf_header(["token_embd.weight"]))
    assert read_model_numbers(file) == DEFAULT_MODEL_NUMBERS
    file.write_bytes(gguf_header(["token_embd.weight", "output.weight"]))
    assert not read_model_numbers(file).is_tied


def test_config_gives_the_numbers(tmp_path: Path) -> None:
    config = {
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
