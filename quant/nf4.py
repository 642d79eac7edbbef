"""bitsandbytes NF4 weights, read without bitsandbytes.

Legend: N output rows, K input columns, S stored bytes (`ceil(N * K / 2)`), A scales
(`ceil(N * K / 64)`), n rows of a chunk.

The blocks of 64 run through the flattened matrix, so they cross rows where K is no multiple of 64.
The first of two values is the high nibble. bitsandbytes is needed at load only: its CPU forward
repacks the weights after one evaluation and loses the input gradient from then on.
"""

from __future__ import annotations

import importlib
import math
import sys
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quant.errors import QuantError
from quant.int4 import RowReader

BLOCK_SIZE = 64

# The table of bitsandbytes: quantiles of a normal distribution, zero among them.
_LEVELS = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)


@dataclass(frozen=True)
class NF4Tensor:
    """A weight [N, K] in bitsandbytes' NF4 without double quantisation.

    Attributes:
        shape: (N, K).
        codes: uint8 [S]; the high nibble comes first.
        absmax: float32 [A].
    """

    shape: tuple[int, int]
    codes: Tensor
    absmax: Tensor

    @property
    def num_bytes(self) -> int:
        """Bytes of codes and scales."""
        return self.codes.numel() + self.absmax.numel() * self.absmax.element_size()

    @property
    def device(self) -> torch.device:
        """Where the codes are."""
        return self.codes.device

    @property
    def dtype(self) -> torch.dtype:
        """What `dequantize` gives; some of transformers' models cast the head's input to it."""
        return torch.float32

    def stored_tensors(self) -> dict[str, Tensor]:
        """The stored tensors by name, in a fixed order."""
        return {"codes": self.codes, "absmax": self.absmax}

    def to(self, device: torch.device) -> NF4Tensor:
        """The same weight on another device; dtypes never change."""
        return replace(self, codes=self.codes.to(device), absmax=self.absmax.to(device))

    def dequantize(
        self, start: int = 0, stop: int | None = None, out: Tensor | None = None
    ) -> Tensor:
        """Rows `start:stop` as float32 [n, K], bit-equal to bitsandbytes' `dequantize_4bit`."""
        num_rows, num_columns = self.shape
        first_row, last_row, _ = slice(start, stop).indices(num_rows)
        first, last = first_row * num_columns, last_row * num_columns
        # Whole blocks around the wanted values; what is too much is cut off at the end.
        first_block, last_block = first // BLOCK_SIZE, math.ceil(last / BLOCK_SIZE)
        codes = self.codes[first_block * BLOCK_SIZE // 2 : last_block * BLOCK_SIZE // 2]
        levels = torch.tensor(_LEVELS, dtype=torch.float32, device=self.codes.device)
        pairs = torch.stack((codes >> 4, codes & 0x0F), dim=-1).flatten()
        values = levels[pairs.to(torch.int32)]
        scales = self.absmax[first_block:last_block].repeat_interleave(BLOCK_SIZE)
        values.mul_(scales[: values.numel()])
        offset = first - first_block * BLOCK_SIZE
        weight_NK = values[offset : offset + last - first].view(last_row - first_row, num_columns)
        return weight_NK if out is None else out.copy_(weight_NK)


def quantize_rows_nf4(
    read_rows: RowReader, shape: tuple[int, int], chunk_rows: int
) -> tuple[NF4Tensor, float]:
    """Puts a float matrix on the NF4 grid without ever holding all of its floats.

    Args:
        read_rows: Gives the rows `start:stop` as a float tensor [n, K].
        shape: (N, K).
        chunk_rows: Rows to read at once; rounded up so that chunks end where blocks end.

    Returns:
        The quantised matrix, the same as bitsandbytes makes of the whole one, and the relative
        error `|Q - W| / |W|` (Frobenius; 0 for a zero matrix).

    Raises:
        QuantError: If bitsandbytes is not installed.
    """
    functional = bitsandbytes_functional()
    rows_step = BLOCK_SIZE // math.gcd(shape[1], BLOCK_SIZE)
    step = math.ceil(chunk_rows / rows_step) * rows_step
    codes, absmax = [], []
    squared_error = squared_norm = 0.0
    for start in range(0, shape[0], step):
        chunk_nK = read_rows(start, min(start + step, shape[0])).to(torch.float32).contiguous()
        packed, state = functional.quantize_4bit(
            chunk_nK, blocksize=BLOCK_SIZE, compress_statistics=False, quant_type="nf4"
        )
        part = NF4Tensor((chunk_nK.shape[0], shape[1]), packed.flatten(), state.absmax)
        difference_nK = part.dequantize().sub_(chunk_nK)
        squared_norm += float(torch.linalg.vector_norm(chunk_nK, dtype=torch.float64).square())
        squared_error += float(
            torch.linalg.vector_norm(difference_nK, dtype=torch.float64).square()
        )
        codes.append(part.codes)
        absmax.append(part.absmax)
    error = math.sqrt(squared_error / squared_norm) if squared_norm else 0.0
    return NF4Tensor(shape, torch.cat(codes), torch.cat(absmax)), error


def bitsandbytes_functional() -> Any:
    """Imports bitsandbytes, which must not reach for the network.

    On CPUs with AVX512-BF16 its import asks the package `kernels`, where that is installed, to
    fetch native code from the hub. A `None` in `sys.modules` makes that one import fail, which
    bitsandbytes expects and survives; nothing here calls the kernel that it would have fetched.
    """
    missing = object()
    modules: dict[str, Any] = sys.modules
    before = modules.get("kernels", missing)
    modules["kernels"] = None
    try:
        return importlib.import_module("bitsandbytes.functional")
    except ImportError as error:
        raise QuantError(
            f"the scheme 'nf4' needs bitsandbytes, which cannot be imported: {error}",
            "install the training extra (pip install 'ptune-tui[train]') or use the scheme 'int4'",
        ) from error
    finally:
        if before is missing:
            del modules["kernels"]
        else:
            modules["kernels"] = before
