"""A model's sizes, read from `config.json` or a GGUF header, without torch or the weights."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ptune_tui.errors import ModelError

# GGUF value types, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9


@dataclass(frozen=True)
class ModelNumbers:
    """The sizes that memory depends on.

    Attributes:
        hidden_size: Width of the residual stream.
        num_layers: Decoder layers.
        intermediate_size: Width inside the MLP.
        vocab_size: Rows of the embedding.
        num_heads: Query heads.
        num_key_value_heads: Key and value heads.
        head_size: Width of a head.
        is_tied: Whether the output head is the embedding.
    """

    hidden_size: int
    num_layers: int
    intermediate_size: int
    vocab_size: int
    num_heads: int
    num_key_value_heads: int
    head_size: int
    is_tied: bool

    @property
    def num_layer_weights(self) -> int:
        """Weights of all layers' matrices: query, key, value, output, and a gated MLP."""
        heads = 2 * (self.num_heads + self.num_key_value_heads) * self.head_size
        return self.num_layers * self.hidden_size * (heads + 3 * self.intermediate_size)

    @property
    def num_vocabulary_weights(self) -> int:
        """Weights of the embedding and, where it is not tied, of the output head."""
        return self.vocab_size * self.hidden_size * (1 if self.is_tied else 2)


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
)


def read_model_numbers(path: Path) -> ModelNumbers:
    """The sizes of a model on this disk.

    Args:
        path (Path): A GGUF file, or a folder with `config.json`.

    Raises:
        ModelError: The file cannot be read, or does not state a size.
    """
    source = path / "config.json" if path.is_dir() else path
    try:
        if source.suffix == ".json":
            return _from_config(json.loads(source.read_text(encoding="utf-8")))
        with source.open("rb") as file:
            return _from_gguf(file)
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


def _from_config(config: dict[str, Any]) -> ModelNumbers:
    text: dict[str, Any] = {**config, **config.get("text_config", {})}
    num_heads = text["num_attention_heads"]
    return ModelNumbers(
        hidden_size=text["hidden_size"],
        num_layers=text["num_hidden_layers"],
        intermediate_size=text["intermediate_size"],
        vocab_size=text["vocab_size"],
        num_heads=num_heads,
        num_key_value_heads=text.get("num_key_value_heads") or num_heads,
        head_size=text.get("head_dim") or text["hidden_size"] // num_heads,
        is_tied=bool(text.get("tie_word_embeddings", False)),
    )


def _from_gguf(file: IO[bytes]) -> ModelNumbers:
    if file.read(4) != b"GGUF":
        raise ValueError("it does not begin with `GGUF`")
    _, num_tensors, num_values = _unpack(file, "IQQ")
    values: dict[str, Any] = {}
    for _ in range(num_values):
        key = _string(file)
        values[key] = _value(file, _unpack(file, "I")[0])
    family = values["general.architecture"]
    num_heads = values[f"{family}.attention.head_count"]
    hidden_size = values[f"{family}.embedding_length"]
    vocab_size = values.get(f"{family}.vocab_size") or values["tokenizer.ggml.tokens"]
    return ModelNumbers(
        hidden_size=hidden_size,
        num_layers=values[f"{family}.block_count"],
        intermediate_size=values[f"{family}.feed_forward_length"],
        vocab_size=vocab_size,
        num_heads=num_heads,
        num_key_value_heads=values.get(f"{family}.attention.head_count_kv", num_heads),
        head_size=values.get(f"{family}.attention.key_length", hidden_size // num_heads),
        is_tied="output.weight" not in _tensor_names(file, num_tensors),
    )


def _tensor_names(file: IO[bytes], num_tensors: int) -> set[str]:
    names = set()
    for _ in range(num_tensors):
        names.add(_string(file))
        (num_dimensions,) = _unpack(file, "I")
        file.seek(8 * num_dimensions + 4 + 8, 1)  # dimensions, type, offset
    return names


def _value(file: IO[bytes], kind: int) -> Any:
    """One value; of an array only its length is kept."""
    if kind == STRING:
        return _string(file)
    if kind != ARRAY:
        return _unpack(file, SCALARS[kind])[0]
    element, length = _unpack(file, "IQ")
    if element in SCALARS:
        file.seek(length * struct.calcsize(SCALARS[element]), 1)
        return length
    for _ in range(length):
        _value(file, element)
    return length


def _string(file: IO[bytes]) -> str:
    (length,) = _unpack(file, "Q")
    if length > 1 << 24:
        raise ValueError(f"a text of {length} bytes in its header")
    return file.read(length).decode("utf-8", "replace")


def _unpack(file: IO[bytes], layout: str) -> tuple[Any, ...]:
    return struct.unpack("<" + layout, file.read(struct.calcsize("<" + layout)))
