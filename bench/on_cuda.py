"""What has to be seen on a machine with a CUDA card, from one command into one JSON file.

    python bench/on_cuda.py [--out FILE] [--parts tests,parity,speed,fit,train] [--cards 6,8,12]
        [--data FOLDER] [--work FOLDER] [--steps N]

- `tests`: every test that is marked `gpu`.
- `parity`: loss and prompt gradient of int4 and NF4 on the card in 16 bits, and of int4 in
  integers, beside float32 on the processor; a random model of SmolLM2-135M's shape.
- `speed`: `ptune bench train --device cuda`, two settings: tokens/s and peak memory beside PEFT.
- `fit`: the largest model (random codes, shapes of `KNOWN_MODELS`) whose training step runs in 6, 8
  and 12 GiB. torch is kept to that size less what the driver takes; 16 rows of 48 tokens, P=20, all
  at once, else 4 and 1 at a time, else with layers computed again.
- `train`: runs of the quality table (`bench/quality.py`) trained and scored on the card; `--data`
  is the folder of its data sets, and what was trained stays in `--work`. Left out without `--data`.

Parts are written as they are done. Exit code 0: all was run; 1: a part failed; 2: no card here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from card_training import trained_on_card
from random_models import random_model
from torch import Tensor
from torch.nn.functional import cosine_similarity

from export.encoding import EncodedRow
from ptune_tui.engine import memory
from ptune_tui.engine.batches import collate
from ptune_tui.engine.card_products import dequantisation_notice
from ptune_tui.engine.gradient import make_step
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.outliers import outlier_channels
from ptune_tui.engine.placement import choose_placement
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.known_models import KNOWN_MODELS

ROOT = Path(__file__).parents[1]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PARITY_MODEL = "SmolLM2-135M"
FIT_MODELS = ("Llama-3.2-1B", "Llama-3.2-3B", "Qwen2.5-7B", "Llama-3.1-8B")
SPEED_SETTINGS = (("16", "48", "20"), ("16", "32", "100"))
NUM_OUTLIERS = 16
GIB = 1 << 30
TESTED = ("tests/quant", "tests/engine")  # where the tests are that are marked `gpu`


@dataclass(frozen=True)
class StepShape:
    """Rows of a step, tokens of a row, virtual tokens, rows at a time, whether to recompute."""

    num_rows: int = 16
    num_tokens: int = 48
    num_virtual_tokens: int = 20
    micro_batch_size: int = 16
    checkpointing: bool = False


# In the order in which they are tried: the first that fits is the fastest.
FIT_STEPS = (
    StepShape(),
    StepShape(micro_batch_size=4),
    StepShape(micro_batch_size=1),
    StepShape(micro_batch_size=4, checkpointing=True),
    StepShape(micro_batch_size=1, checkpointing=True),
)


def main() -> int:
    options = parse(sys.argv[1:])
    if options.cell:
        print(json.dumps(fit_cell(*json.loads(options.cell))))
        return 0
    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} finds no CUDA card; nothing was measured.")
        return 2
    found: dict[str, Any] = {"machine": card()}
    parts: dict[str, Callable[[], Any]] = {
        "tests": gpu_tests,
        "parity": lambda: parity(PARITY_MODEL),
        "speed": speed,
        "fit": lambda: fit(options.cards),
        "train": lambda: trained_on_card(
            options.data, options.work, device="cuda", steps_override=options.steps
        ),
    }
    has_failed = False
    for name in options.parts:
        print(f"{name} ...", file=sys.stderr)
        try:
            found[name] = parts[name]()
        except Exception as error:
            # The parts do not depend on each other, and a card is not always at hand.
            found[name] = {"failed": f"{type(error).__name__}: {error}"}
            has_failed = True
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return int(has_failed)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ["tests", "parity", "speed", "fit", "train"]

    def parts(text: str) -> list[str]:
        chosen = text.split(",")
        if not set(chosen) <= set(names):
            raise argparse.ArgumentTypeError(f"parts are {', '.join(names)}")
        return chosen

    parser.add_argument("--out", type=Path, default=Path("bench/on_cuda.json"))
    parser.add_argument("--parts", type=parts)
    parser.add_argument("--data", type=Path, help="folder of data sets, for `train`")
    parser.add_argument("--steps", type=int, help="fewer steps in `train`, to try it")
    parser.add_argument("--work", type=Path, default=Path("bench/on_cuda_runs"))
    parser.add_argument(
        "--cards",
        type=lambda text: [float(size) for size in text.split(",")],
        default=[6.0, 8.0, 12.0],
        help="memory of cards in GiB",
    )
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.parts is None:
        options.parts = names if options.data else names[:-1]
    if "train" in options.parts and options.data is None:
        parser.error("the part `train` needs --data")
    return options


def card() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(0)
    commit = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return {
        "card": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": subprocess.run(commit, capture_output=True, text=True).stdout.strip(),
    }


def gpu_tests() -> dict[str, Any]:
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-rs", "--timeout", "600", *TESTED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-8000:] + done.stderr[-2000:])
    return {"summary": done.stdout.strip().splitlines()[-1]}


def parity(name: str, device: torch.device = CUDA) -> list[dict[str, Any]]:
    """The card's loss and gradient beside those of float32 on the processor."""
    dtype = torch.bfloat16
    if device == CUDA:
        dtype = choose_placement("cuda", "auto", "int4", "auto").compute_dtype
    lines = []
    for scheme, kernels in (("int4", ("stream", "cached", "int8")), ("nf4", ("stream",))):
        exact = random_model(
            name,
            KNOWN_MODELS[name],
            scheme,
            device=CPU,
            compute_dtype=torch.float32,
            drawn_on=CPU,
        )
        expected, loss = gradient(exact, "stream", StepShape())
        for kernel in kernels:
            frozen = random_model(
                name,
                KNOWN_MODELS[name],
                scheme,
                device=device,
                compute_dtype=dtype,
                drawn_on=CPU,
            )
            notice = dequantisation_notice(frozen)
            found, found_loss = gradient(frozen, kernel, StepShape())
            cosine = cosine_similarity(found.double().flatten(), expected.double().flatten(), dim=0)
            lines.append(
                {
                    "model": name,
                    "scheme": scheme,
                    "kernel": kernel,
                    "compute_type": str(dtype),
                    "dequantisation": notice.message if notice else None,
                    "loss": found_loss,
                    "float32_loss": loss,
                    "gradient_cosine": float(cosine),
                }
            )
    return lines


def speed() -> list[Any]:
    return [bench_train(*setting) for setting in SPEED_SETTINGS]


def bench_train(num_rows: str, num_tokens: str, num_virtual_tokens: str) -> Any:
    command = [sys.executable, "-m", "ptune_tui", "bench", "train", "--device", "cuda", "--json"]
    command += ["--rows", num_rows, "--tokens", num_tokens]
    command += ["--num-virtual-tokens", num_virtual_tokens]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def fit(cards: list[float]) -> dict[str, Any]:
    """For each size of card every model's first step that runs, and the largest model's name."""
    found: dict[str, Any] = {}
    for size in cards:
        cells = {name: first_fit(name, size) for name in FIT_MODELS}
        largest = [name for name, cell in cells.items() if cell["fits"]]
        found[f"{size:g} GiB"] = {"largest": largest[-1] if largest else None, "models": cells}
    return found


def first_fit(name: str, size: float) -> dict[str, Any]:
    """The first of `FIT_STEPS` that runs; each in a process of its own, with a fresh card."""
    tried: dict[str, Any] = {"fits": False}
    for number in range(len(FIT_STEPS)):
        cell = json.dumps([name, size, number])
        done = subprocess.run(
            [sys.executable, __file__, "--cell", cell], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr[-2000:])
        tried = json.loads(done.stdout.splitlines()[-1])
        print(tried, file=sys.stderr)
        if tried["fits"]:
            break
    return tried


def fit_cell(name: str, size: float, number: int) -> dict[str, Any]:
    """Whether two steps run on a card of so many GiB."""
    shape = FIT_STEPS[number]
    free, total = torch.cuda.mem_get_info()
    # The driver's share, which a smaller card would have to give as well; others' use is in it.
    budget = int(size * GIB) - (total - free)
    if budget > free:
        raise SystemExit(f"this card has {free / GIB:.1f} GiB free, too few to act one of {size:g}")
    torch.cuda.set_per_process_memory_fraction(max(budget, 0) / total)
    cell = {"model": name, "step": vars(shape), "budget_bytes": budget}
    placement = choose_placement("cuda", "auto", "int4", "auto")
    try:
        frozen = random_model(
            name,
            KNOWN_MODELS[name],
            "int4",
            device=CUDA,
            compute_dtype=placement.compute_dtype,
            drawn_on=CUDA,
        )
        loaded = torch.cuda.memory_allocated()
        memory.forget_peak(CUDA)
        for _ in range(2):
            gradient(frozen, "stream", shape)
    except torch.OutOfMemoryError as error:
        return {**cell, "fits": False, "reason": str(error).partition("\n")[0]}
    return {
        **cell,
        "fits": True,
        "loaded_bytes": loaded,
        "peak_bytes": memory.peak_memory_bytes(CUDA),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
    }


def gradient(frozen: FrozenModel, kernel: str, shape: StepShape) -> tuple[Tensor, float]:
    """The prompt's gradient, float32 [P, H], and the loss of one step of random rows."""
    generator = torch.Generator().manual_seed(1)
    rows = list(random_rows(shape, frozen.config.vocab_size, generator))
    size = (shape.num_virtual_tokens, frozen.config.hidden_size)
    prompt_PH = (0.02 * torch.randn(size, generator=generator)).requires_grad_()
    prompt = VirtualTokens(prompt_PH)
    batches = [
        collate(rows[first : first + shape.micro_batch_size], 0)
        for first in range(0, shape.num_rows, shape.micro_batch_size)
    ]
    outliers = {}
    if kernel == "int8":
        outliers = outlier_channels(frozen, prompt, [], batches[0], NUM_OUTLIERS)
    step = make_step(frozen, kernel, outliers, checkpointing=shape.checkpointing, fused=False)
    loss = step(prompt, [], batches)
    assert prompt_PH.grad is not None
    return prompt_PH.grad, loss


def random_rows(
    shape: StepShape, vocab_size: int, generator: torch.Generator
) -> Iterator[EncodedRow]:
    for _ in range(shape.num_rows):
        ids = torch.randint(3, vocab_size, (shape.num_tokens,), generator=generator).tolist()
        yield EncodedRow(ids[:-2], ids[-2:])


if __name__ == "__main__":
    sys.exit(main())
