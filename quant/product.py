"""The product with a float weight, by the faster of torch's two libraries.

Legend: M rows, K inputs, N outputs.

`torch.nn.functional.linear` computes float32 on a CPU with MKL, which measured slower on the AMD
machine this was built on. oneDNN is in every CPU build of torch, too, and reads a transposed view
without a copy. `bench/products.py` holds the two beside each other; `docs/results.md` has figures.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def product(input_MK: Tensor, weight_NK: Tensor) -> Tensor:
    """`input weight^T`, without a gradient for either.

    Args:
        input_MK: Float [M, K].
        weight_NK: Float [N, K] of the same dtype, contiguous or a transposed view.

    Returns:
        Float [M, N].
    """
    if _takes(input_MK):
        output: Tensor = torch.ops.mkldnn._linear_pointwise(
            input_MK, weight_NK, None, "none", [], ""
        )
        return output
    return torch.nn.functional.linear(input_MK, weight_NK)


class FrozenProduct(torch.autograd.Function):
    """`input weight^T` with a gradient for the input only."""

    @staticmethod
    def forward(ctx: Any, input_MK: Tensor, weight_NK: Tensor) -> Tensor:
        """Float [M, N] of inputs [M, K] and a weight [N, K]."""
        ctx.weight_NK = weight_NK
        return product(input_MK, weight_NK)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MN: Tensor) -> tuple[Tensor, None]:
        """The input's gradient [M, K]."""
        return product(grad_MN.contiguous(), ctx.weight_NK.t()), None


def _takes(input_MK: Tensor) -> bool:
    """Whether oneDNN takes a product; it refuses empty ones and knows nothing of autocast."""
    return (
        input_MK.device.type == "cpu"
        and input_MK.dtype == torch.float32
        and input_MK.shape[0] > 0
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )
