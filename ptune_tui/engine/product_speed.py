"""Which products are faster than float32 ones on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from ptune_tui.config import FloatType
from quant.int8 import int8_matmul
from quant.product import product

_NUM_ROWS = 256
# Narrower products measure the calls, wider ones take long.
_WIDTHS = (512, 2048)
_MIN_ROUNDS, _MAX_ROUNDS = 7, 100
_SECONDS = 0.3  # a busy processor leaves one undisturbed round in these


def int8_speedup(width: int) -> float:
    """Time of a float32 product over that of an int8 one, the shortest of alternating runs.

    On one core: threads wait for each other, so on a busy machine any product takes the scheduler's
    time instead of its own, and a busy minute would choose the kernel for the hours after it.

    Args:
        width (int): Inputs and outputs of the product; taken between 512 and 2048.
    """
    width = min(max(width, _WIDTHS[0]), _WIDTHS[1])
    # A generator of its own: a measurement must not move the run's random numbers.
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(_NUM_ROWS, width, generator=generator)
    right = torch.randn(width, width, generator=generator)
    left8, right8 = left.to(torch.int8), right.to(torch.int8)
    floats: list[float] = []
    integers: list[float] = []
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ends = time.perf_counter() + _SECONDS
        while len(floats) < _MIN_ROUNDS or (
            len(floats) < _MAX_ROUNDS and time.perf_counter() < ends
        ):
            floats.append(_seconds(lambda: product(left, right)))
            integers.append(_seconds(lambda: int8_matmul(left8, right8.t())))
    finally:
        torch.set_num_threads(num_threads)
    return min(floats) / min(integers)


def faster_type() -> FloatType:
    """bfloat16 on a processor with instructions for its products, else float32.

    Not measured: with the same seed a processor must choose the same.
    """
    has_products = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if has_products else "float32"


def _seconds(compute: Callable[[], object]) -> float:
    started = time.perf_counter()
    compute()
    return time.perf_counter() - started
