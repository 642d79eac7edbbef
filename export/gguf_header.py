"""What a GGUF file says of a model besides its weights: numbers, and the tokenizer.

A file that was trained on brings its header along; this one is for models from safetensors, of the
architecture `llama`, whose tokenizer is byte-level BPE. llama.cpp knows how a tokenizer splits
words by a name only, so a split that has none here is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gguf import GGUFValueType, TokenType

from export.errors import NotCarriedError

ARCHITECTURE = "llama"
_FAMILIES = ("llama", "mistral")
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TOKENS = "tokenizer.ggml.tokens"
_TYPES = "tokenizer.ggml.token_type"
_SCORES = "tokenizer.ggml.scores"
_TEMPLATE = "tokenizer.chat_template"
_ADDS_FIRST = "tokenizer.ggml.add_bos_token"
_ADDS_LAST = "tokenizer.ggml.add_eos_token"
_END = "tokenizer.ggml.eos_token_id"
_VOCAB_SIZE = f"{ARCHITECTURE}.vocab_size"


@dataclass(frozen=True)
class Field:
    """One entry of a header.

    Attributes:
        value: What it says.
        type: Of the value.
        item_type: Of its items, where it is an array.
    """

    value: Any
    type: GGUFValueType
    item_type: GGUFValueType | None = None


Header = Mapping[str, Field]


def header_of(name: str, config: Any, tokenizer_json: str, vocab_size: int) -> dict[str, Field]:
    """The header of a model from safetensors.

    Args:
        name (str): What to call it.
        config (Any): Its transformers configuration.
        tokenizer_json (str): Its tokenizer.
        vocab_size (int): Rows of its embedding.

    Raises:
        NotCarriedError: llama.cpp's `llama` computes something else, or its tokenizer has no name
            there.
    """
    _check_family(config)
    num_heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // num_heads
    counts = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "vocab_size": vocab_size,
        "rope.dimension_count": head_size,
        "attention.head_count": num_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head_size,
        "attention.value_length": head_size,
    }
    numbers = {
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": (config.rope_parameters or {}).get("rope_theta", 10000.0),
    }
    return {
        "general.name": _text(name),
        **{f"{ARCHITECTURE}.{key}": _count(value) for key, value in counts.items()},
        **{
            f"{ARCHITECTURE}.{key}": Field(float(value), GGUFValueType.FLOAT32)
            for key, value in numbers.items()
        },
        "general.quantization_version": _count(2),
        **_tokenizer_fields(json.loads(tokenizer_json), vocab_size),
    }


def with_virtual_tokens(
    header: Header, names: list[str], vocab_size: int, chat_template: str, end_token_id: int
) -> dict[str, Field]:
    """A header whose tokenizer knows virtual tokens and whose chat template places them.

    Args:
        header (Header): Of the model.
        names (list[str]): Of the virtual tokens.
        vocab_size (int): Rows of the embedding before they are appended.
        chat_template (str): It writes what the tokenizer would put first, too.
        end_token_id (int): The token that ends an answer.
    """
    changed = dict(header)
    tokens, types = list(header[_TOKENS].value), list(header[_TYPES].value)
    gap = vocab_size - len(tokens)
    tokens += [f"<|unused_{len(tokens) + number}|>" for number in range(gap)]
    types += [int(TokenType.UNUSED)] * gap
    changed[_TOKENS] = replace(header[_TOKENS], value=tokens + names)
    changed[_TYPES] = replace(header[_TYPES], value=types + [int(TokenType.CONTROL)] * len(names))
    if _SCORES in header:
        missing = len(tokens) + len(names) - len(header[_SCORES].value)
        scores = [*header[_SCORES].value, *[0.0] * missing]
        changed[_SCORES] = replace(header[_SCORES], value=scores)
    if _VOCAB_SIZE in header:
        changed[_VOCAB_SIZE] = _count(vocab_size + len(names))
    changed[_TEMPLATE] = _text(chat_template)
    changed[_ADDS_FIRST] = changed[_ADDS_LAST] = Field(False, GGUFValueType.BOOL)
    changed[_END] = _count(end_token_id)
    return changed


def _check_family(config: Any) -> None:
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    differs = {
        f"is of the type `{config.model_type}`": config.model_type not in _FAMILIES,
        "has biases": getattr(config, "attention_bias", False)
        or getattr(config, "mlp_bias", False),
        "attends within a window": getattr(config, "sliding_window", None) is not None,
        f"has the activation `{getattr(config, 'hidden_act', None)}`": (
            getattr(config, "hidden_act", None) != "silu"
        ),
        f"scales its rotary frequencies (`{rope}`)": rope != "default",
    }
    for difference, is_so in differs.items():
        if is_so:
            raise NotCarriedError(
                f"The model {difference}; GGUF files are written of plain Llama models.",
                "`--format transformers` takes every family; or train on the model's GGUF file.",
            )


def _tokenizer_fields(content: dict[str, Any], vocab_size: int) -> dict[str, Field]:
    model = content["model"]
    if model["type"] != "BPE" or model.get("byte_fallback") or content.get("normalizer"):
        raise NotCarriedError(
            f"The tokenizer is no byte-level BPE ({model['type']}); GGUF files are written of "
            "those alone.",
            "`--format transformers` takes every tokenizer; or train on the model's GGUF file.",
        )
    by_id = {token: text for text, token in model["vocab"].items()}
    types = dict.fromkeys(by_id, TokenType.NORMAL)
    for added in content["added_tokens"]:
        by_id[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    num_tokens = min(vocab_size, max(by_id) + 1)
    tokens = [by_id.get(token, f"<|unused_{token}|>") for token in range(num_tokens)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return {
        "tokenizer.ggml.model": _text("gpt2"),
        "tokenizer.ggml.pre": _text(_split_name(content.get("pre_tokenizer") or {})),
        _TOKENS: _array(tokens, GGUFValueType.STRING),
        _TYPES: _array(
            [int(types.get(token, TokenType.UNUSED)) for token in range(num_tokens)],
            GGUFValueType.INT32,
        ),
        "tokenizer.ggml.merges": _array(merges, GGUFValueType.STRING),
    }


def _split_name(pre_tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name for how a tokenizer splits words.

    Raises:
        NotCarriedError: It has none here.
    """
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    *before, last = steps
    if last.get("type") == "ByteLevel" and not last.get("add_prefix_space"):
        if last.get("use_regex", True):
            if not before:
                return "gpt-2"
            if [(step["type"], step.get("individual_digits")) for step in before] == [
                ("Digits", True)
            ]:
                return "smollm"
        elif [step.get("pattern", {}).get("Regex") for step in before] == [_LLAMA_3]:
            return "llama-bpe"
    raise NotCarriedError(
        "The tokenizer splits words in a way that has no name in llama.cpp that ptune knows: "
        f"{[step.get('type') for step in steps]}.",
        "`--format transformers` takes every tokenizer; or train on the model's GGUF file.",
    )


def _text(value: str) -> Field:
    return Field(value, GGUFValueType.STRING)


def _count(value: int) -> Field:
    return Field(int(value), GGUFValueType.UINT32)


def _array(value: list[Any], item_type: GGUFValueType) -> Field:
    return Field(value, GGUFValueType.ARRAY, item_type)
