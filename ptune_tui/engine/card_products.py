"""How a CUDA card multiplies with frozen weights: what is said of it, and what is refused."""

from __future__ import annotations

from collections import Counter

import torch

from ptune_tui.engine.model import FrozenModel
from ptune_tui.errors import UsageError
from ptune_tui.events import Notice
from quant.int8_cuda import failure_on
from quant.linear import QuantLinear
from quant.nf4_cuda import has_kernels
from quant.triton_dequantize import unfused_reason


def dequantisation_notice(frozen: FrozenModel) -> Notice | None:
    """How codes become floats on a card; None elsewhere.

    Args:
        frozen (FrozenModel): The model, on its device.
    """
    if frozen.device.type != "cuda":
        return None
    layers = [layer for layer in frozen.network.modules() if isinstance(layer, QuantLinear)]
    reasons: Counter[str] = Counter()
    for layer in layers:
        reason = unfused_reason(layer.weight, frozen.compute_dtype)
        if reason is not None and not has_kernels(layer.weight):
            reasons[reason] += 1
    if not reasons:
        return Notice("dequantisation", "Fused kernels make floats of the codes on the card.")
    return Notice(
        "dequantisation",
        f"torch's own operations make floats of the codes in {sum(reasons.values())} of "
        f"{len(layers)} layers, which takes more time and memory: {'; '.join(reasons)}.",
        "The values are the same. The fused kernel needs triton, which torch's CUDA builds for "
        "Linux bring, and a C compiler.",
    )


def require_int8(device: torch.device) -> None:
    """Check that integer products run on a card before a plan relies on them.

    Args:
        device (torch.device): Where the model computes.

    Raises:
        UsageError: They do not.
    """
    failure = failure_on(device) if device.type == "cuda" else None
    if failure is not None:
        raise UsageError(
            f'`model.kernel = "int8"` was asked for, but this card computes no integer products: '
            f"{failure}.",
            'Use `kernel = "auto"`, which takes `cached` or `stream`.',
        )
