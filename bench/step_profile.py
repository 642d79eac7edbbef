"""Where the time of a training step goes, pass by pass, on the default model.

    python bench/step_profile.py --rows 16 --tokens 48 --num-virtual-tokens 20

Medians over steps that alternate between the kernels. `ideal` is the time of the step's products
at the throughput that one large product reaches here.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import torch

from ptune_tui.default_model import fetch_default
from ptune_tui.engine.batches import Batch
from ptune_tui.engine.fused import arithmetic, weights
from ptune_tui.engine.fused.step import FusedStep
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.outliers import outlier_channels
from ptune_tui.engine.product_speed import faster_type
from ptune_tui.engine.prompt import VirtualTokens
from quant.int8 import int8_matmul
from quant.native import passes
from quant.product import product

PASSES = [
    name
    for name, kind in vars(passes).items()
    if isinstance(kind, FunctionType)
    and name.endswith(("rows", "blocks", "gradient", "attention", "backward"))
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--num-virtual-tokens", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    path: Path = fetch_default(lambda *_: None)
    frozen = load_frozen(path, "default", "int4", "stream")
    batch, start = random_rows(frozen, options)
    channels = outlier_channels(frozen, VirtualTokens(start.detach()), [], batch, 8)
    steps = {
        "cached": FusedStep(frozen, "cached", {}),
        "stream": FusedStep(frozen, "stream", {}),
        "int8": FusedStep(frozen, "int8", channels, prefix_dtype=getattr(torch, faster_type())),
        "int8, virtual tokens in float32": FusedStep(frozen, "int8", channels),
    }
    gradients = {name: gradient(step, start, batch) for name, step in steps.items()}
    clock = Clock()
    clock.watch(passes, *PASSES)
    clock.watch(arithmetic, "int8_matmul")
    clock.watch(weights, "product")
    clock.watch(FusedStep, "_head")
    totals: dict[str, list[float]] = defaultdict(list)
    parts: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in steps}
    for number in range(options.rounds + 2):
        for name, step in steps.items():
            clock.seconds.clear()
            started = time.perf_counter()
            step(VirtualTokens(start), [], [batch])
            if number >= 2:
                totals[name].append(time.perf_counter() - started)
                for part, seconds in clock.seconds.items():
                    parts[name][part].append(seconds)
    num_products = products_of_step(frozen, options)
    for name in steps:
        total = statistics.median(totals[name])
        ideal = num_products / throughput(name)
        cosine = torch.cosine_similarity(gradients[name], gradients["stream"], dim=0)
        print(
            f"\n{name}: {total * 1e3:.0f} ms a step; ideal {ideal * 1e3:.0f} ms; cosine with "
            f"stream {cosine:.4f}"
        )
        shares = {part: statistics.median(found) for part, found in parts[name].items()}
        shares["everything else"] = total - sum(shares.values())
        for part, seconds in sorted(shares.items(), key=lambda item: -item[1]):
            print(f"  {part:32} {seconds * 1e3:7.1f} ms  {seconds / total:6.1%}")


def gradient(step: FusedStep, start: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The virtual tokens' gradient, flat."""
    leaf = start.detach().clone().requires_grad_()
    step(VirtualTokens(leaf), [], [batch])
    assert leaf.grad is not None
    return leaf.grad.flatten()


class Clock:
    """Adds up the seconds of functions that it watches."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, owner: Any, *names: str) -> None:
        """Watch functions of a module or methods of a class."""
        for name in names:
            setattr(owner, name, self._timed(name, getattr(owner, name)))

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **keywords: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments, **keywords)
            self.seconds[name] += time.perf_counter() - started
            return result

        return timed


def random_rows(frozen: FrozenModel, options: argparse.Namespace) -> tuple[Batch, torch.Tensor]:
    """Rows of random tokens with one label each, and virtual tokens."""
    generator = torch.Generator().manual_seed(0)
    rows, tokens = options.rows, options.tokens
    batch = Batch(
        torch.randint(100, 40000, (rows, tokens), generator=generator),
        torch.full((rows,), tokens),
        torch.arange(rows),
        torch.full((rows,), tokens - 1),
        torch.randint(100, 40000, (rows,), generator=generator),
    )
    ids = torch.randint(100, 40000, (options.num_virtual_tokens,), generator=generator)
    return batch, frozen.embed(ids).requires_grad_()


def products_of_step(frozen: FrozenModel, options: argparse.Namespace) -> float:
    """Operations of all layers' products, forward and backward, of the rows and the prompt."""
    config = frozen.config
    heads = config.num_attention_heads + config.num_key_value_heads
    attention = 2 * config.hidden_size * config.head_dim * heads
    weights = attention + 3 * config.hidden_size * config.intermediate_size
    num_tokens = options.rows * options.tokens + options.num_virtual_tokens
    return 2.0 * 2.0 * num_tokens * weights * config.num_hidden_layers


def throughput(kernel: str) -> float:
    """Operations a second of one large product."""
    size = 1536
    left, right = torch.randn(size, size), torch.randn(size, size)
    left8, right8 = left.to(torch.int8), right.to(torch.int8)
    found = []
    for _ in range(9):
        started = time.perf_counter()
        if kernel.startswith("int8"):
            int8_matmul(left8, right8.t())
        else:
            product(left, right)
        found.append(2.0 * size**3 / (time.perf_counter() - started))
    return statistics.median(found)


if __name__ == "__main__":
    main()
