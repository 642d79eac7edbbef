"""A model's sizes, read from `config.json` or a GGUF header, without torch or the weights."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptune_tui.errors import ModelError
from ptune_tui.gguf_header import ArrayLength, Header, read_header
from ptune_tui.model_families import FAMILIES, LLAMA_LIKE, Family

# The published configurations of Gemma 3 leave out what transformers' class has as defaults.
_LEFT_OUT: dict[str, dict[str, int]] = {
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 262208,
    }
}
_GGUF_FAMILIES = {"gemma3": "gemma3_text", "gptneox": "gpt_neox"}
_EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_STATE_SPACE_KEYS = ("state_size", "mamba_d_state", "ssm_cfg", "linear_num_value_heads")
_ATTENTION_LAYERS = {"full_attention", "sliding_attention", "chunked_attention", "attention"}


@dataclass(frozen=True)
class ModelNumbers:
    """The sizes that memory and time depend on.

    Attributes:
        hidden_size: Width of the residual stream.
        num_layers: Decoder layers.
        intermediate_size: Width inside the MLP.
        vocab_size: Rows of the embedding.
        num_heads: Query heads.
        num_key_value_heads: Key and value heads.
        head_size: Width of a head.
        is_tied: Whether the output head is the embedding.
        embedding_size: Width of the embedding; other than the hidden size in some OPT models.
        is_gated: Whether the MLP has three matrices or two.
        activation: Inside the MLP, as transformers calls it.
        num_norm_inputs: Inputs of the norms of a layer, each of the hidden size.
        norms_heads: Whether queries and keys have a norm of the head size.
        keeps_scores: Whether the attention's scores exist as tensors.
        keeps_fused_queries: Whether queries, keys and values stay in the tensor that made them.
        is_fusable: Whether the fused step covers its layers (`engine.fused`).
        num_vector_weights: Weights of norms, biases and the table of positions.
        assumption: A sentence, where the family is not known here.
    """

    hidden_size: int
    num_layers: int
    intermediate_size: int
    vocab_size: int
    num_heads: int
    num_key_value_heads: int
    head_size: int
    is_tied: bool
    embedding_size: int
    is_gated: bool = True
    activation: str = "silu"
    num_norm_inputs: int = 2
    norms_heads: bool = False
    keeps_scores: bool = False
    keeps_fused_queries: bool = False
    is_fusable: bool = False
    num_vector_weights: int = 0
    assumption: str | None = None

    @property
    def query_size(self) -> int:
        """Width of all query heads."""
        return self.num_heads * self.head_size

    @property
    def key_value_size(self) -> int:
        """Width of all key heads, which is that of all value heads."""
        return self.num_key_value_heads * self.head_size

    @property
    def num_layer_weights(self) -> int:
        """Weights of all matrices but the vocabulary's: what the 4-bit grid holds."""
        attention = 2 * (self.query_size + self.key_value_size)
        mlp = (3 if self.is_gated else 2) * self.intermediate_size
        layers = self.num_layers * self.hidden_size * (attention + mlp)
        if self.embedding_size != self.hidden_size:
            layers += 2 * self.embedding_size * self.hidden_size
        return layers

    @property
    def num_vocabulary_weights(self) -> int:
        """Weights of the embedding and, where it is not tied, of the output head."""
        return self.vocab_size * self.embedding_size * (1 if self.is_tied else 2)

    @property
    def num_parameters(self) -> int:
        """All weights."""
        return self.num_layer_weights + self.num_vocabulary_weights + self.num_vector_weights


# So that an estimate can be shown before the default model is fetched.
DEFAULT_MODEL_NUMBERS = ModelNumbers(
    hidden_size=576,
    num_layers=30,
    intermediate_size=1536,
    vocab_size=49152,
    num_heads=9,
    num_key_value_heads=3,
    head_size=64,
    is_tied=True,
    embedding_size=576,
    is_fusable=True,
    num_vector_weights=(2 * 30 + 1) * 576,
)


def read_model_numbers(path: Path) -> ModelNumbers:
    """The sizes of a model on this disk.

    Args:
        path (Path): A GGUF file, a `config.json`, or a folder with one.

    Raises:
        ModelError: The file cannot be read, does not state a size, or is of a model that cannot be
            trained here: experts, state-space layers, or an encoder beside the decoder.
    """
    source = path / "config.json" if path.is_dir() else path
    try:
        if source.suffix == ".json":
            config = json.loads(source.read_text(encoding="utf-8"))
            if not isinstance(config, dict):
                raise ValueError("it holds no JSON object")
            return numbers_of_config(config, str(source))
        with source.open("rb") as file:
            return _of_header(read_header(file), str(source))
    except FileNotFoundError:
        raise ModelError(f"There is no file {source}.", "Check the model's path.") from None
    except KeyError as missing:
        raise ModelError(
            f"{source} does not state {missing}.", "Only decoder models are supported."
        ) from None
    except (ValueError, TypeError, struct.error) as error:
        raise ModelError(
            f"{source} cannot be read: {error}", "The file may be cut short; fetch it again."
        ) from None


def numbers_of_config(config: dict[str, Any], source: str) -> ModelNumbers:
    """The sizes that a configuration states.

    Args:
        config (dict[str, Any]): The content of `config.json`; of a model of several kinds of input
            the part about text is taken.
        source (str): What to call it in a sentence.

    Raises:
        ModelError: It is of a model that cannot be trained here.
        KeyError: It does not state a size.
    """
    text: dict[str, Any] = {**config, **(config.get("text_config") or {})}
    name = str(text.get("model_type") or "unnamed")
    _refuse(text, name, source)
    family = FAMILIES.get(name)
    stated = {**_LEFT_OUT.get(name, {}), **text}
    return _numbers(stated, family or LLAMA_LIKE, None if family else _assumption(name))


def _numbers(stated: dict[str, Any], family: Family, assumption: str | None) -> ModelNumbers:
    hidden_size = _first(stated, "hidden_size", "n_embd")
    num_heads = _first(stated, "num_attention_heads", "n_head")
    inner = stated.get("n_inner") or 4 * hidden_size if "n_embd" in stated else None
    # GPT-NeoX: attention and MLP read the same input.
    is_parallel = family is FAMILIES["gpt_neox"] and stated.get("use_parallel_residual", True)
    head_size = stated.get("head_dim") or family.head_size or hidden_size // num_heads
    activation = next((stated[key] for key in _ACTIVATIONS if stated.get(key)), family.activation)
    numbers = ModelNumbers(
        hidden_size=hidden_size,
        num_layers=_first(stated, "num_hidden_layers", "n_layer"),
        intermediate_size=inner or _first(stated, "intermediate_size", "ffn_dim"),
        vocab_size=_first(stated, "vocab_size"),
        num_heads=num_heads,
        num_key_value_heads=stated.get("num_key_value_heads") or num_heads,
        head_size=head_size,
        is_tied=bool(stated.get("tie_word_embeddings", family.is_tied)),
        embedding_size=stated.get("word_embed_proj_dim") or hidden_size,
        is_gated=family.is_gated,
        activation=activation,
        num_norm_inputs=1 if is_parallel else family.num_layer_norms,
        norms_heads=family.norms_heads,
        keeps_scores=family.keeps_scores,
        keeps_fused_queries=family.keeps_fused_queries,
        is_fusable=family.is_fusable and activation == "silu" and head_size % 16 == 0,
        assumption=assumption,
    )
    num_vector_weights = _num_vector_weights(numbers, stated, family)
    return ModelNumbers(**{**vars(numbers), "num_vector_weights": num_vector_weights})


_ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function")


def _num_vector_weights(numbers: ModelNumbers, stated: dict[str, Any], family: Family) -> int:
    """Weights of norms, biases and the table of positions."""
    hidden_size = numbers.hidden_size
    norms = family.num_layer_norms * hidden_size * (2 if family.norms_have_biases else 1)
    heads = 2 * numbers.head_size if family.norms_heads else 0
    biases = 0
    enabled = stated.get("enable_bias", True)  # OPT's
    if enabled and stated.get("attention_bias", family.query_biases):
        biases += numbers.query_size + 2 * numbers.key_value_size
        biases += hidden_size if family.output_biases else 0
    if enabled and stated.get("mlp_bias", family.mlp_biases):
        biases += (2 if family.is_gated else 1) * numbers.intermediate_size + hidden_size
    last_norm = hidden_size * (2 if family.norms_have_biases else 1)
    if stated.get("_remove_final_layer_norm") or not stated.get("do_layer_norm_before", True):
        last_norm = 0
    positions = 0
    if family.position_offset is not None:
        rows = _first(stated, "n_positions", "max_position_embeddings") + family.position_offset
        positions = rows * hidden_size
    return numbers.num_layers * (norms + heads + biases) + last_norm + positions


def _refuse(text: dict[str, Any], name: str, source: str) -> None:
    if any((text.get(key) or 0) > 1 for key in _EXPERT_KEYS):
        raise ModelError(
            f"{source}: `{name}` is a mixture of experts, which is not supported.",
            "Take a dense model; the experts' weights are not put on the 4-bit grid.",
        )
    if text.get("is_encoder_decoder"):
        raise ModelError(
            f"{source}: `{name}` has an encoder beside its decoder.",
            "Only decoder models are supported.",
        )
    others = {kind for kind in text.get("layer_types") or () if kind not in _ATTENTION_LAYERS}
    if others or any(key in text for key in _STATE_SPACE_KEYS):
        kinds = ", ".join(sorted(others)) or "a state-space model"
        raise ModelError(
            f"{source}: `{name}` has layers without attention ({kinds}); "
            "their memory is not estimated.",
            "Try a short training run, or take a model of attention layers only.",
        )


def _assumption(name: str) -> str:
    return (
        f"The family `{name}` is not known here: layers like Llama's are assumed "
        "(a gated MLP, no biases)."
    )


def _first(stated: dict[str, Any], *keys: str) -> int:
    """A size by the first of its names that is stated."""
    for key in keys:
        if stated.get(key) is not None:
            value = stated[key]
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{key}` is {value!r}; it should be one whole number above 0")
            return value
    raise KeyError(keys[0])


def _of_header(header: Header, source: str) -> ModelNumbers:
    """The sizes of a GGUF file, under the names that `config.json` has for them."""
    values, names = header.values, header.tensor_names
    architecture = values["general.architecture"]
    name = _GGUF_FAMILIES.get(architecture, architecture)
    tokens = values.get("tokenizer.ggml.tokens")
    stated: dict[str, Any] = {
        "hidden_size": values[f"{architecture}.embedding_length"],
        "num_hidden_layers": values[f"{architecture}.block_count"],
        "intermediate_size": values[f"{architecture}.feed_forward_length"],
        "vocab_size": values.get(f"{architecture}.vocab_size")
        or (tokens.length if isinstance(tokens, ArrayLength) else None),
        "num_attention_heads": values[f"{architecture}.attention.head_count"],
        "num_key_value_heads": values.get(f"{architecture}.attention.head_count_kv"),
        "head_dim": values.get(f"{architecture}.attention.key_length"),
        "max_position_embeddings": values.get(f"{architecture}.context_length"),
        "tie_word_embeddings": "output.weight" not in names,
        "num_experts": values.get(f"{architecture}.expert_count"),
    }
    if f"{architecture}.ssm.state_size" in values:
        stated["state_size"] = values[f"{architecture}.ssm.state_size"]
    if "blk.0.attn_q.bias" in names:
        stated["attention_bias"] = True
    _refuse(stated, name, source)
    family = FAMILIES.get(name)
    return _numbers(stated, family or LLAMA_LIKE, None if family else _assumption(name))
