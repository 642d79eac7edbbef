"""The precisions a bundle's graph comes in.

`fast` quantises activations to 8 bits, block by block; `exact` computes in float32; `throughput`
holds every weight once more in 8 bits by output channels, which large products of integers need.
"""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["fast", "exact", "throughput"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
