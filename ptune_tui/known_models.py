"""Sizes by a model's name: what lies on this disk, and what is well known.

The well-known sizes are those of the published configurations; they say what fits which card
before anything is fetched.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ptune_tui import default_model
from ptune_tui.model_numbers import (
    DEFAULT_MODEL_NUMBERS,
    ModelNumbers,
    numbers_of_config,
    read_model_numbers,
)
from ptune_tui.models import local_model


def _numbers(
    family: str,
    hidden_size: int,
    num_layers: int,
    intermediate_size: int,
    vocab_size: int,
    num_heads: int,
    num_key_value_heads: int,
    head_size: int,
    *,
    is_tied: bool,
) -> ModelNumbers:
    stated = {
        "model_type": family,
        "hidden_size": hidden_size,
        "num_hidden_layers": num_layers,
        "intermediate_size": intermediate_size,
        "vocab_size": vocab_size,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_key_value_heads,
        "head_dim": head_size,
        "tie_word_embeddings": is_tied,
    }
    return numbers_of_config(stated, family)


# From small to large.
KNOWN_MODELS: dict[str, ModelNumbers] = {
    "SmolLM2-135M": DEFAULT_MODEL_NUMBERS,
    "SmolLM2-360M": _numbers("llama", 960, 32, 2560, 49152, 15, 5, 64, is_tied=True),
    "Qwen2.5-0.5B": _numbers("qwen2", 896, 24, 4864, 151936, 14, 2, 64, is_tied=True),
    "Llama-3.2-1B": _numbers("llama", 2048, 16, 8192, 128256, 32, 8, 64, is_tied=True),
    "Qwen2.5-1.5B": _numbers("qwen2", 1536, 28, 8960, 151936, 12, 2, 128, is_tied=True),
    "SmolLM2-1.7B": _numbers("llama", 2048, 24, 8192, 49152, 32, 32, 64, is_tied=True),
    "Qwen2.5-3B": _numbers("qwen2", 2048, 36, 11008, 151936, 16, 2, 128, is_tied=True),
    "Llama-3.2-3B": _numbers("llama", 3072, 28, 8192, 128256, 24, 8, 128, is_tied=True),
    "Mistral-7B": _numbers("mistral", 4096, 32, 14336, 32768, 32, 8, 128, is_tied=False),
    "Qwen2.5-7B": _numbers("qwen2", 3584, 28, 18944, 152064, 28, 4, 128, is_tied=False),
    "Llama-3.1-8B": _numbers("llama", 4096, 32, 14336, 128256, 32, 8, 128, is_tied=False),
}


# Families whose layers are not those of Llama and Qwen2, so `bench/on_cuda.py` builds none of them.
KNOWN_OF_OTHER_FAMILIES: dict[str, ModelNumbers] = {
    "Gemma-3-270M": _numbers("gemma3_text", 640, 18, 2048, 262144, 4, 1, 256, is_tied=True),
    "Qwen3-0.6B": _numbers("qwen3", 1024, 28, 3072, 151936, 16, 8, 128, is_tied=True),
    "Gemma-3-1B": _numbers("gemma3_text", 1152, 26, 6912, 262144, 4, 1, 256, is_tied=True),
    "Qwen3-1.7B": _numbers("qwen3", 2048, 28, 6144, 151936, 16, 8, 128, is_tied=True),
    "SmolLM3-3B": _numbers("smollm3", 2048, 36, 11008, 128256, 16, 4, 128, is_tied=True),
    "Phi-3-mini-4k": _numbers("phi3", 3072, 32, 8192, 32064, 32, 32, 96, is_tied=False),
}

_ALL = KNOWN_MODELS | KNOWN_OF_OTHER_FAMILIES


def numbers_of(source: str) -> ModelNumbers | None:
    """The sizes of the model that a user means, or None where it would have to be fetched first.

    Args:
        source (str): `default`, a folder, a `config.json`, a GGUF file, a cached model's name, or
            a name of `KNOWN_MODELS` or `KNOWN_OF_OTHER_FAMILIES`.

    Raises:
        ModelError: Its files cannot be read, or it cannot be trained here.
    """
    if source in ("default", default_model.DEFAULT_MODEL.name):
        return DEFAULT_MODEL_NUMBERS
    path = local_model(source)
    if path is not None:
        return _numbers_on_disk(path, path.stat().st_mtime_ns)
    wanted = source.rpartition("/")[2].lower().removesuffix("-instruct").removesuffix("-it")
    known = {name.lower(): numbers for name, numbers in _ALL.items()}
    return known.get(wanted)


@lru_cache(maxsize=8)
def _numbers_on_disk(path: Path, _changed: int) -> ModelNumbers:
    files = sorted(path.glob("*.gguf")) if path.is_dir() else []
    has_config = (path / "config.json").is_file()
    return read_model_numbers(files[0] if files and not has_config else path)
