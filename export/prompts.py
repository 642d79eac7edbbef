"""Prompts and the key/value prefixes that begin a cache, on disk: safetensors, never pickle.

Legend: P virtual tokens, H hidden, L layers, h key/value heads, D head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from export.errors import BundleError, NotCarriedError

FloatArray = npt.NDArray[np.float32]
PromptKind = Literal["virtual tokens", "layer prefix"]
_PROMPT = "soft_prompt"
_PREFIX = "prefix"


@dataclass(frozen=True)
class TokenPrompt:
    """Virtual tokens: the graph runs them as rows of its `soft_prompt` input.

    Attributes:
        embeddings_PH: float32 [P, H].
    """

    embeddings_PH: FloatArray

    @property
    def kind(self) -> PromptKind:
        """What a manifest calls it."""
        return "virtual tokens"

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return len(self.embeddings_PH)


@dataclass(frozen=True)
class PrefixPrompt:
    """Keys and values of every layer, as the cache holds them: nothing has to run.

    Attributes:
        keys_values: float32 [L, 2, h, P, D]; the keys are rotated already.
    """

    keys_values: FloatArray

    @property
    def kind(self) -> PromptKind:
        """What a manifest calls it."""
        return "layer prefix"

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return int(self.keys_values.shape[3])


AnyPrompt = TokenPrompt | PrefixPrompt


def virtual_tokens(prompt: AnyPrompt) -> TokenPrompt:
    """The prompt, where it is one of virtual tokens.

    Raises:
        NotCarriedError: It is keys and values of every layer.
    """
    if isinstance(prompt, TokenPrompt):
        return prompt
    raise NotCarriedError(
        "The prompt is keys and values of every layer (`prefix`), which only our own runtime can "
        "put into a cache; other programs take tokens.",
        "Train with another method, `prompt` for example, to answer there, or use `--format onnx`.",
    )


def save_prompt(path: Path, prompt: AnyPrompt) -> None:
    """Write a prompt: `soft_prompt` float32 [P, H], or `prefix` float32 [L, 2, h, P, D]."""
    if isinstance(prompt, TokenPrompt):
        path.write_bytes(save({_PROMPT: prompt.embeddings_PH}))
    else:
        save_prefix(path, prompt.keys_values)


def load_prompt(path: Path, kind: PromptKind) -> AnyPrompt:
    """Read a prompt of a kind; whether it fits a model is for the caller to check.

    Raises:
        BundleError: The file is damaged or holds something else.
    """
    if kind == "layer prefix":
        return PrefixPrompt(load_prefix(path))
    return TokenPrompt(_load(path, _PROMPT, num_dimensions=2))


def save_prefix(path: Path, prefix: FloatArray) -> None:
    """Write a key/value prefix, float32 [L, 2, h, length, D]."""
    path.write_bytes(save({_PREFIX: prefix}))


def load_prefix(path: Path) -> FloatArray:
    """Read a key/value prefix, float32 [L, 2, h, length, D].

    Raises:
        BundleError: The file is damaged or holds something else.
    """
    return _load(path, _PREFIX, num_dimensions=5)


def _load(path: Path, name: str, num_dimensions: int) -> FloatArray:
    try:
        tensors = load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise BundleError(f"{path} cannot be read: {error}", "Export the run again.") from None
    if set(tensors) != {name} or tensors[name].dtype != np.float32:
        raise BundleError(
            f"{path} holds {sorted(tensors)} instead of one float32 tensor `{name}`.",
            "Export the run again.",
        )
    if tensors[name].ndim != num_dimensions:
        raise BundleError(
            f"`{name}` in {path} has the shape {tensors[name].shape} instead of "
            f"{num_dimensions} dimensions.",
            "Export the run again.",
        )
    if not np.isfinite(tensors[name]).all():
        raise BundleError(
            f"`{name}` in {path} has numbers that are not finite, behind which nothing can be "
            "answered.",
            "Export the run again.",
        )
    return np.asarray(tensors[name], dtype=np.float32)
