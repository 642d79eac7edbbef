"""The compiled passes that weigh most, for this processor and for lesser ones, on it.

    python bench/passes.py

Prints milliseconds of attention (forward and backward, 30 layers of 9 query and 3 key/value heads
of 64) and the weights a second that become floats; medians. A lesser processor is what the compiler
may use: `haswell` has AVX2, `x86-64` registers of four floats.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from quant.native import passes
from quant.native.build import Build, build_for
from quant.native.passes import Heads, Rows
from quant.packing import QuantSpec, QuantTensor

PROCESSORS = ("native", "haswell", "x86-64")
HEADS = Heads(3, 9, 64, 0.125, 0)
NUM_LAYERS = 30
SHAPES = ((16, 48, 20), (16, 32, 100))  # rows, tokens of a row, keys before them
ROUNDS = 15


def main() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    for processor in PROCESSORS:
        use(build_for(processor))
        for num_rows, num_tokens, num_before in SHAPES:
            found = 1e3 * NUM_LAYERS * attention_seconds(num_rows, num_tokens, num_before)
            print(
                f"{processor:8} attention {num_rows} x {num_tokens}, P={num_before}: {found:.0f} ms"
            )
        print(f"{processor:8} codes to floats: {weights_a_second() / 1e9:.1f} G weights/s")


def use(built: Build) -> None:
    """Let the passes be those of another build."""
    assert built.library is not None, built.reason
    passes.build = lambda: built  # type: ignore[assignment]


def attention_seconds(num_rows: int, num_tokens: int, num_before: int) -> float:
    """Seconds of one layer."""
    size = num_rows * num_tokens
    starts = torch.arange(0, size + 1, num_tokens).int()
    rows = Rows(starts, torch.empty(0, dtype=torch.int32))
    qkv, gradient = torch.randn(size, HEADS.width), torch.empty(size, HEADS.width)
    past, past_gradient = torch.randn(2, 3, num_before, 64), torch.zeros(2, 3, num_before, 64)
    output, log_sums = torch.empty(size, 9 * 64), torch.empty(size, 9)
    output_gradient = torch.randn(size, 9 * 64)

    def compute() -> None:
        passes.attention(qkv, past, rows, HEADS, output, log_sums)
        passes.attention_backward(
            qkv, past, rows, HEADS, log_sums, output_gradient, gradient, past_gradient
        )

    return median_seconds(compute)


def weights_a_second() -> float:
    """Weights of a Q4_1 matrix that become floats in a second."""
    shape = (1536, 576)
    codes = torch.randint(0, 256, (shape[0], shape[1] // 32, 16), dtype=torch.uint8)
    scales, offsets = torch.rand(codes.shape[:2]), torch.randn(codes.shape[:2])
    spec = QuantSpec(4, 32, "block_offset")
    weight = QuantTensor(spec, shape, codes, scales, None, offsets)
    room = torch.empty(shape)
    return room.numel() / median_seconds(lambda: weight.dequantize(out=room))


def median_seconds(compute: Callable[[], object]) -> float:
    compute()
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        compute()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


if __name__ == "__main__":
    main()
