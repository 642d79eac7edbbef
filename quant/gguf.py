"""A GGUF file as a checkpoint: its tensors under Hugging Face names, on the file's own grids.

Legend: N output rows, K input columns, n rows of a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quant.errors import QuantError
from quant.gguf_blocks import BLOCK_TYPES, import_blocks
from quant.gguf_file import GGUFTensor, read_gguf
from quant.int4 import concat_rows
from quant.packing import QuantTensor

FLOAT_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
ARCHITECTURES = ("llama",)

_CHUNK_BYTES = 1 << 22
_LLAMA_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LLAMA_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_REORDERED = {
    "self_attn.q_proj": "num_attention_heads",
    "self_attn.k_proj": "num_key_value_heads",
}
_CONFIG_KEYS = {
    "max_position_embeddings": "llama.context_length",
    "num_hidden_layers": "llama.block_count",
    "intermediate_size": "llama.feed_forward_length",
    "hidden_size": "llama.embedding_length",
    "num_attention_heads": "llama.attention.head_count",
    "rms_norm_eps": "llama.attention.layer_norm_rms_epsilon",
}
_TOKEN_KEYS = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
}


@dataclass(frozen=True)
class GGUFSource:
    """The tensors of a GGUF file of the architecture llama, under Hugging Face names.

    The file is memory-mapped and read in chunks of rows. The rows of q and k are stored in another
    order than transformers wants; they are put back, which moves whole blocks and changes no value.

    Attributes:
        path: The file.
        tensors: The file's tensors by Hugging Face name.
        config: Arguments of transformers' `LlamaConfig`.
    """

    path: Path
    tensors: dict[str, GGUFTensor]
    config: dict[str, Any]
    kind: str = "gguf"

    @property
    def names(self) -> frozenset[str]:
        """Hugging Face names of all tensors."""
        return frozenset(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """(N, K) or (N,)."""
        return self.tensors[name].shape

    def dtype(self, name: str) -> str:
        """The type in the file, `Q4_1` for example."""
        return self.tensors[name].type_name

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start:stop` of a float matrix, float32 [n, K]."""
        order = self._order(name)
        index = slice(start, stop) if order is None else order[start:stop].numpy()
        return self._floats(name, self.tensors[name].data_ND[index])

    def columns(self, name: str, start: int, stop: int) -> Tensor:
        """Columns `start:stop` of a float matrix as rows, float32 [n, K] of a stored [K, N]."""
        num_rows = self.shape(name)[0]
        return self.rows(name, 0, num_rows)[:, start:stop].t().contiguous()

    def read(self, name: str) -> Tensor:
        """A whole float vector, float32 [N]."""
        vector = self._floats(name, self.tensors[name].data_ND).squeeze(0)
        order = self._order(name)
        return vector if order is None else vector[order]

    def quantised(self, name: str) -> QuantTensor | None:
        """The tensor on the file's own grid, or None where it is stored in floats.

        Args:
            name: Hugging Face name.

        Raises:
            QuantError: If the tensor's type is not supported.
        """
        type_name = self.dtype(name)
        if type_name in FLOAT_TYPES:
            return None
        if type_name not in BLOCK_TYPES:
            raise QuantError(
                f"{self.path.name}: tensor {self.tensors[name].name} has the type {type_name}",
                f"the types that work are {', '.join((*BLOCK_TYPES, *FLOAT_TYPES))}; convert the "
                "model to one of them",
            )
        data_ND = self.tensors[name].data_ND
        num_rows, num_columns = self.shape(name)
        step = max(1, _CHUNK_BYTES // data_ND.shape[1])
        parts = [
            import_blocks(data_ND[start : start + step], type_name, num_columns)
            for start in range(0, num_rows, step)
        ]
        order = self._order(name)
        weight = concat_rows(parts)
        return weight if order is None else weight.rows(order)

    def _floats(self, name: str, data_nD: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(np.array(data_nD)).view(FLOAT_TYPES[self.dtype(name)]).float()

    def _order(self, name: str) -> Tensor | None:
        """Index of the stored row for every row that transformers wants, int64 [N]."""
        key = next((key for part, key in _REORDERED.items() if part in name), None)
        if key is None:
            return None
        num_rows, num_heads = self.shape(name)[0], self.config[key]
        stored = torch.arange(num_rows).view(num_heads, num_rows // num_heads // 2, 2)
        return stored.transpose(1, 2).flatten()


def open_gguf(path: Path) -> GGUFSource:
    """Opens a GGUF file.

    Args:
        path: The file.

    Raises:
        QuantError: If the file cannot be read, is of another architecture, or holds what our llama
            cannot express (scaled rotary frequencies).
    """
    file = read_gguf(path)
    architecture = file.keys.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise QuantError(
            f"{path.name}: the GGUF architecture {architecture!r} is not supported",
            f"architectures that work: {', '.join(ARCHITECTURES)}; or use the Hugging Face folder",
        )
    scaling = file.keys.get("llama.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in file.tensors:
        raise QuantError(
            f"{path.name}: its rotary frequencies are scaled ({scaling!r}), which is not read "
            "from GGUF files",
            "use the Hugging Face folder of the model, whose config.json describes the scaling",
        )
    named = {_hugging_face_name(name): tensor for name, tensor in file.tensors.items()}
    return GGUFSource(path, named, _llama_config(path, file.keys, named))


def _llama_config(path: Path, keys: dict[str, Any], named: dict[str, GGUFTensor]) -> dict[str, Any]:
    try:
        config = {name: keys[key] for name, key in _CONFIG_KEYS.items()}
        config["vocab_size"] = named["model.embed_tokens.weight"].shape[0]
    except KeyError as error:
        raise QuantError(
            f"{path.name}: the GGUF file lacks {error}", "convert the model to GGUF again"
        ) from error
    num_heads = config["num_attention_heads"]
    config["num_key_value_heads"] = keys.get("llama.attention.head_count_kv", num_heads)
    default_head_dim = config["hidden_size"] // num_heads
    config["head_dim"] = keys.get("llama.rope.dimension_count", default_head_dim)
    config["rope_theta"] = keys.get("llama.rope.freq_base", 10000.0)
    config["tie_word_embeddings"] = "lm_head.weight" not in named
    return config | {name: keys[key] for name, key in _TOKEN_KEYS.items() if key in keys}


def _hugging_face_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in _LLAMA_NAMES:
        return f"{_LLAMA_NAMES[stem]}.{kind}"
    prefix, _, layer_stem = stem.partition(".")
    number, _, part = layer_stem.partition(".")
    if prefix == "blk" and part in _LLAMA_LAYER_NAMES:
        return f"model.layers.{number}.{_LLAMA_LAYER_NAMES[part]}.{kind}"
    return name
