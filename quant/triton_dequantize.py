"""Floats of a frozen weight on a CUDA card, by one fused kernel straight into the dtype wanted.

Legend: N output rows, K input columns, n rows of a chunk.

torch's own operations write the codes, their floats and the rounded floats one after another; the
kernel (`quant.triton_kernel`) reads codes and writes the result. Triton comes with torch's CUDA
builds and is no dependency of its own. It compiles when it is first called, which needs a C
compiler and a card that it knows. So each grid is tried on the first rows of the first weight that
is on it, and the values must be those of torch's operations, bit for bit. Where anything of that
fails, torch's operations serve, and `unfused_reason` says why.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from quant.packing import FrozenWeight, QuantSpec, QuantTensor

# Blocks of a program: 2,048 weights with blocks of 32.
_BLOCKS = 64
_TRIED_ROWS = 64

_found: dict[tuple[torch.device, QuantSpec, torch.dtype], str | None] = {}


def dequantize_to(
    weight: FrozenWeight,
    dtype: torch.dtype,
    start: int = 0,
    stop: int | None = None,
    room: Tensor | None = None,
) -> Tensor:
    """Rows `start:stop` as floats [n, K]: the values of `weight.dequantize(start, stop).to(dtype)`.

    Args:
        weight: Frozen weight [N, K].
        dtype: float32, bfloat16 or float16.
        start: First row.
        stop: Row after the last; None for all.
        room: float32 memory for the rows on the processor, flat; None to allocate it.
    """
    if isinstance(weight, QuantTensor) and is_fused(weight, dtype):
        return launch(weight, dtype, start, stop)
    out = None
    if room is not None:
        num_rows = (weight.shape[0] if stop is None else stop) - start
        out = room[: num_rows * weight.shape[1]].view(num_rows, weight.shape[1])
    return weight.dequantize(start, stop, out).to(dtype)


def is_fused(weight: FrozenWeight, dtype: torch.dtype) -> bool:
    """Whether the kernel makes the floats of a weight.

    Args:
        weight: Frozen weight [N, K].
        dtype: What the floats are to be.
    """
    return weight.device.type == "cuda" and unfused_reason(weight, dtype) is None


def unfused_reason(weight: FrozenWeight, dtype: torch.dtype) -> str | None:
    """Why the kernel does not make the floats of a weight; None where it does.

    Args:
        weight: Frozen weight [N, K] on a CUDA card.
        dtype: What the floats are to be.
    """
    if not isinstance(weight, QuantTensor):
        return "the kernel knows integer grids only"
    if weight.spec.block_size & (weight.spec.block_size - 1):
        return f"the kernel takes no blocks of {weight.spec.block_size}"
    key = (weight.device, weight.spec, dtype)
    if key not in _found:
        _found[key] = _failure(weight, dtype)
    return _found[key]


def launch(
    weight: QuantTensor, dtype: torch.dtype, start: int = 0, stop: int | None = None
) -> Tensor:
    """Runs the kernel, without asking whether it can.

    Args:
        weight: Weight [N, K] with a block size that is a power of two.
        dtype: float32, bfloat16 or float16.
        start: First row.
        stop: Row after the last; None for all.

    Returns:
        Float [n, K] of the dtype.

    Raises:
        ImportError: Triton is not installed.
    """
    kernel: Any = importlib.import_module("quant.triton_kernel").dequantize_blocks
    rows = slice(start, stop)
    codes, scales = weight.codes[rows].contiguous(), weight.scales[rows].contiguous()
    points = None if weight.zero_points is None else weight.zero_points[rows].contiguous()
    offsets = None if weight.offsets is None else weight.offsets[rows].contiguous()
    num_rows, blocks_a_row = scales.shape
    output_NK = torch.empty((num_rows, weight.shape[1]), dtype=dtype, device=weight.device)
    if output_NK.numel() == 0:
        return output_NK
    # Triton starts kernels on the current card, which need not be the weight's.
    with torch.cuda.device_of(codes):  # type: ignore[no-untyped-call]
        kernel[(-(-num_rows * blocks_a_row // _BLOCKS),)](
            codes,
            scales,
            codes if points is None else points,
            scales if offsets is None else offsets,
            output_NK,
            num_rows * blocks_a_row,
            blocks_a_row,
            weight.shape[1],
            0 if points is None else points.shape[1],
            BITS=weight.spec.bits,
            BLOCK_SIZE=weight.spec.block_size,
            HAS_POINTS=points is not None,
            HAS_OFFSETS=offsets is not None,
            BLOCKS=_BLOCKS,
            enable_fp_fusion=False,
        )
    return output_NK


def _failure(weight: QuantTensor, dtype: torch.dtype) -> str | None:
    """What went wrong when the kernel was tried on a weight's first rows; None if nothing."""
    try:
        found_nK = launch(weight, dtype, 0, _TRIED_ROWS)
        is_equal = torch.equal(found_nK, weight.dequantize(0, _TRIED_ROWS).to(dtype))
    except torch.OutOfMemoryError:
        raise
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    except Exception as error:
        # Whatever a compiler, a linker or a driver says: torch's operations need none of them.
        text = str(error).strip().partition("\n")[0]
        return f"the kernel cannot run here ({type(error).__name__}: {text})"
    return None if is_equal else "its values are not those of torch's operations"
