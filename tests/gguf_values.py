"""GGUF blocks to import: quantised by the gguf package where it can, else of random bytes."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as GGMLType

# Where a stored block keeps its float16 numbers; every other bit may be anything.
_HALVES = {"Q4_K": (0, 2), "Q6_K": (208,)}


def random_blocks(type_name: str, num_rows: int, num_columns: int) -> np.ndarray[Any, Any]:
    """Rows of blocks, uint8 [num_rows, bytes], about as large as a model's weights."""
    random = np.random.default_rng(0)
    if type_name not in _HALVES:
        values = random.standard_normal((num_rows, num_columns)).astype(np.float32)
        return np.asarray(gguf.quants.quantize(values, GGMLType[type_name]))
    block_size, num_bytes = gguf.GGML_QUANT_SIZES[GGMLType[type_name]]
    shape = (num_rows, num_columns // block_size, num_bytes)
    blocks = random.integers(0, 256, shape, np.uint8)
    for start in _HALVES[type_name]:
        halves = random.uniform(0.001, 0.01, shape[:2]).astype(np.float16)
        blocks[..., start : start + 2] = halves[..., None].view(np.uint8)
    return blocks.reshape(num_rows, -1)
