"""A tiny random model of every supported family, written to disk as users have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from quant.loading import LoadedModel
from quant.packing import FrozenWeight

SIZES = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture
def make_model() -> Callable[..., Any]:
    """A transformers model of a family with seeded random weights."""

    def make(family: str = "llama", **changes: Any) -> Any:
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(family, **{**SIZES, **changes})
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        for name, parameter in model.named_parameters():
            # Biases and norms start as constants, which would hide a mix-up.
            if parameter.dim() == 1:
                torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.2)
        return model

    return make


@pytest.fixture
def llama_folder(tmp_path: Path, make_model: Callable[..., Any]) -> Path:
    """A tied llama in float32."""
    folder = tmp_path / "llama"
    make_model(tie_word_embeddings=True).save_pretrained(folder)
    return folder


def float_twin(loaded: LoadedModel) -> Any:
    """transformers' own model with the dequantised weights: what the frozen one must equal."""
    twin = transformers.AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32).eval()
    for name, tensor in twin.state_dict().items():
        floats = as_floats(loaded.weights[twin.all_tied_weights_keys.get(name, name)])
        holder = twin.get_submodule(name.rpartition(".")[0])
        is_transposed = isinstance(holder, Conv1D) and name.endswith("weight")
        tensor.copy_(floats.t() if is_transposed else floats)
    return twin


def as_floats(weight: FrozenWeight | Tensor) -> Tensor:
    return weight if isinstance(weight, Tensor) else weight.dequantize()


def logits(model: Any) -> Tensor:
    ids = torch.arange(24).view(2, 12) % model.config.vocab_size
    with torch.no_grad():
        result: Tensor = model(input_ids=ids).logits
    return result
