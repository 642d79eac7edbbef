"""Tables of cosines and sines, as transformers' rotary embeddings compute them.

Legend: D rotated part of a head, C positions of the context.

Long rope (LongRoPE, Ding 2024, as Phi-3 uses it) rotates a whole sequence by other frequencies once
it is longer than the model was first trained on: its table has 2 C rows, those of short sequences
above those of long ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from export.errors import UnsupportedModelError
from export.family import ROTARY, DecoderSpec

_ALIGNMENT = 8  # pairs that `GroupQueryAttention` rotates at once


@dataclass(frozen=True)
class RotaryTable:
    """One table.

    Attributes:
        cos: float32 [C, D / 2], or twice the rows.
        sin: The same shape.
    """

    cos: Tensor
    sin: Tensor


def rotary_tables(rotary: Any, spec: DecoderSpec) -> dict[str, RotaryTable]:
    """The tables a decoder needs, by the names its layers give them.

    Args:
        rotary (Any): The transformers model's rotary embedding.
        spec (DecoderSpec): The decoder.

    Raises:
        UnsupportedModelError: onnxruntime's attention does not rotate so few numbers of a head.
    """
    names = {layer.rotary for layer in spec.layers if layer.rotary is not None}
    return {name: _table(rotary, name, spec) for name in sorted(names)}


def _table(rotary: Any, name: str, spec: DecoderSpec) -> RotaryTable:
    prefix = name.removeprefix(ROTARY).removeprefix(".")
    prefix = f"{prefix}_" if prefix else ""
    num_pairs = getattr(rotary, f"{prefix}original_inv_freq").numel()
    if num_pairs % _ALIGNMENT:
        raise UnsupportedModelError(
            f"This {spec.model_type} model rotates {2 * num_pairs} of the {spec.head_size} numbers "
            "of a head.",
            f"onnxruntime's attention rotates multiples of {2 * _ALIGNMENT}.",
        )
    # A long sequence that was seen before leaves its frequencies in `inv_freq`.
    frequencies = [getattr(rotary, f"{prefix}original_inv_freq")]
    if spec.long_rotary_from is not None:
        compute = ROPE_INIT_FUNCTIONS["longrope"]
        frequencies.append(compute(rotary.config, None, seq_len=spec.long_rotary_from + 1)[0])
    positions = torch.arange(spec.context_length, dtype=torch.float32)
    angles = torch.cat([torch.outer(positions, each.float().cpu()) for each in frequencies])
    scaling = getattr(rotary, f"{prefix}attention_scaling")
    return RotaryTable(angles.cos() * scaling, angles.sin() * scaling)
