"""Soft prompts and their key/value prefixes on disk: safetensors, never pickle.

Legend: P virtual tokens, H hidden, L layers, D head size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from export.errors import BundleError

FloatArray = npt.NDArray[np.float32]
_PROMPT = "soft_prompt"
_PREFIX = "prefix"


def save_prompt(path: Path, soft_prompt: FloatArray) -> None:
    """Write a soft prompt, float32 [P, H]."""
    path.write_bytes(save({_PROMPT: soft_prompt}))


def load_prompt(path: Path, hidden_size: int) -> FloatArray:
    """Read a soft prompt, float32 [P, H].

    Raises:
        BundleError: The file is damaged or holds something else.
    """
    prompt = _load(path, _PROMPT)
    if prompt.ndim != 2 or prompt.shape[1] != hidden_size:
        raise BundleError(
            f"{path} holds a prompt of the shape {prompt.shape}; the model's width is "
            f"{hidden_size}.",
            "This prompt belongs to another model.",
        )
    return prompt


def save_prefix(path: Path, prefix: FloatArray) -> None:
    """Write a key/value prefix, float32 [L, 2, heads, length, D]."""
    path.write_bytes(save({_PREFIX: prefix}))


def load_prefix(path: Path) -> FloatArray:
    """Read a key/value prefix, float32 [L, 2, heads, length, D].

    Raises:
        BundleError: The file is damaged or holds something else.
    """
    return _load(path, _PREFIX)


def _load(path: Path, name: str) -> FloatArray:
    try:
        tensors = load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise BundleError(f"{path} cannot be read: {error}", "Export the run again.") from None
    if set(tensors) != {name} or tensors[name].dtype != np.float32:
        raise BundleError(
            f"{path} holds {sorted(tensors)} instead of one float32 tensor `{name}`.",
            "Export the run again.",
        )
    return np.asarray(tensors[name], dtype=np.float32)
