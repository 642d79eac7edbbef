"""torch's two float32 matrix libraries beside each other, on the shapes of the default model.

    python bench/products.py

Prints GFLOP/s, medians of alternating runs: `linear` and `matmul` are what torch does by itself.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import torch

from quant.product import product

SHAPES = [(512, 576, 1536), (512, 1536, 576), (1024, 576, 576), (32, 576, 1536), (64, 576, 49152)]
RUNS = 25


def main() -> None:
    torch.set_num_threads(2)
    found = []
    for num_rows, num_inputs, num_outputs in SHAPES:
        inputs = torch.randn(num_rows, num_inputs)
        weight = torch.randn(num_outputs, num_inputs)
        grads = torch.randn(num_rows, num_outputs)
        ways: dict[str, Callable[[], torch.Tensor]] = {
            "linear": lambda i=inputs, w=weight: torch.nn.functional.linear(i, w),
            "forward": lambda i=inputs, w=weight: product(i, w),
            "matmul": lambda g=grads, w=weight: g @ w,
            "backward": lambda g=grads, w=weight: product(g, w.t()),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(RUNS):
            for name, compute in ways.items():
                started = time.perf_counter()
                compute()
                seconds[name].append(time.perf_counter() - started)
        flops = 2e-9 * num_rows * num_inputs * num_outputs
        rates = {name: round(flops / statistics.median(s)) for name, s in seconds.items()}
        found.append({"shape": [num_rows, num_inputs, num_outputs], "gflops": rates})
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
