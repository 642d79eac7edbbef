"""What `ptune bench train` measures: a training step of ours beside PEFT's. Torch-free.

Every contender is a process of its own that holds the same base, rows and first prompt; they take
turns, step by step, and the others wait. Tokens are the rows' own: padding and virtual tokens are
work, not tokens.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
from msgspec import Struct

Side = Literal["ptune", "peft"]
BenchMethod = Literal["prompt", "prefix"]
BenchDevice = Literal["cpu", "cuda"]
BenchKernel = Literal["cached", "int8", "stream"]
Precision = Literal["fp32", "bf16", "nf4", "nf4-fp32"]

KERNELS: tuple[str, ...] = get_args(BenchKernel)
PRECISIONS: tuple[str, ...] = get_args(Precision)
REFERENCE: Precision = "fp32"  # whose gradient the others are compared with
# Of ours on a card, where integers are no gain that was measured.
CARD_KERNELS: tuple[BenchKernel, ...] = ("stream", "cached")
UNSTEADY = 1.5  # longest over shortest step


class BenchSetting(Struct, frozen=True):
    """What is measured.

    Attributes:
        model: What `--model` was given.
        data: A data file or a built-in set.
        method: Plain virtual tokens, or keys and values of every layer.
        num_rows: Rows a step.
        num_tokens: Every row's own tokens, response and end token included.
        num_virtual_tokens: Length of the prompt.
        num_rounds: Steps of each contender that count.
        num_threads: Processor threads; 0: all cores.
        device: Where the contenders compute; on `cuda` ours computes in 16 bits.
        kernels: Ours, one contender each.
        against: PEFT's, one contender each.
        template: How a row becomes text; None for the set's own or the model's.
        prompt_field: Name of the input column; None: recognised.
        response_field: Name of the answer column.
    """

    model: str = "default"
    data: str = "support_inbox"
    method: BenchMethod = "prompt"
    num_rows: int = 16
    num_tokens: int = 48
    num_virtual_tokens: int = 20
    num_rounds: int = 5
    num_threads: int = 0
    device: BenchDevice = "cpu"
    kernels: tuple[str, ...] = ("cached", "int8")
    against: tuple[str, ...] = ("fp32", "bf16", "nf4", "nf4-fp32")
    template: str | None = None
    prompt_field: str | None = None
    response_field: str = "response"


class ContenderSpeed(Struct, frozen=True, kw_only=True):
    """One contender's figures; where `unavailable` is set, there are none.

    Attributes:
        side: Ours or PEFT's.
        variant: The kernel or the precision.
        unavailable: Why it could not run.
        step_seconds: Every counted step: zero the gradient, forward, backward, AdamW.
        seconds_per_step: Their median.
        tokens_per_second: The rows' own tokens of a step over that median.
        peak_memory_bytes: Largest resident memory of its process while it trained, or on CUDA of
            what torch has allocated on the card; the model included.
        loading_peak_bytes: The same until the model was ready; None where the system
            cannot forget a peak, and `peak_memory_bytes` includes loading.
        computed_by: Who computes its layers; for ours whether in compiled passes, and if not, why.
        loss: Of the first prompt.
        gradient_cosine: Of the first prompt's gradient with that of PEFT in float32.
        speed_ratio: Its tokens/s over those of the fastest PEFT contender.
        memory_ratio: Its peak memory over that contender's.
    """

    side: Side
    variant: str
    unavailable: str | None = None
    step_seconds: tuple[float, ...] = ()
    seconds_per_step: float | None = None
    tokens_per_second: float | None = None
    peak_memory_bytes: int | None = None
    loading_peak_bytes: int | None = None
    computed_by: str | None = None
    loss: float | None = None
    gradient_cosine: float | None = None
    speed_ratio: float | None = None
    memory_ratio: float | None = None

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.side} {self.variant}"

    @property
    def is_unsteady(self) -> bool:
        """Whether its steps differ so much that other programs must have taken the processor."""
        return bool(self.step_seconds) and max(self.step_seconds) > UNSTEADY * min(
            self.step_seconds
        )


class TrainingSpeed(Struct, frozen=True):
    """What a bench found.

    Attributes:
        setting: What was measured, with threads and model as they were.
        contenders: Ours first.
        fastest: Name of the fastest PEFT contender: the ratios are against it.
        processor: The processor's name, or None.
        versions: Of the packages that compute.
        weights_hash: sha256 of the frozen weights.
    """

    setting: BenchSetting
    contenders: tuple[ContenderSpeed, ...]
    fastest: str | None
    processor: str | None
    versions: dict[str, str]
    weights_hash: str


def measured(
    contender: ContenderSpeed, step_seconds: Sequence[float], num_tokens: int
) -> ContenderSpeed:
    """The contender with its steps' median.

    Args:
        contender (ContenderSpeed): Without steps.
        step_seconds (Sequence[float]): Seconds of each counted step.
        num_tokens (int): The rows' own tokens of a step.
    """
    median = statistics.median(step_seconds)
    return msgspec.structs.replace(
        contender,
        step_seconds=tuple(step_seconds),
        seconds_per_step=median,
        tokens_per_second=num_tokens / median,
    )


def with_ratios(
    contenders: Sequence[ContenderSpeed],
) -> tuple[tuple[ContenderSpeed, ...], str | None]:
    """The contenders with their ratios against the fastest of PEFT's, and its name.

    Args:
        contenders (Sequence[ContenderSpeed]): Measured, or unavailable.
    """
    theirs = [item for item in contenders if item.side == "peft" and item.tokens_per_second]
    if not theirs:
        return tuple(contenders), None
    fastest = max(theirs, key=lambda item: item.tokens_per_second or 0.0)
    return tuple(_compared(item, fastest) for item in contenders), fastest.name


def _compared(contender: ContenderSpeed, fastest: ContenderSpeed) -> ContenderSpeed:
    speed = memory = None
    if contender.tokens_per_second and fastest.tokens_per_second:
        speed = contender.tokens_per_second / fastest.tokens_per_second
    if contender.peak_memory_bytes and fastest.peak_memory_bytes:
        memory = contender.peak_memory_bytes / fastest.peak_memory_bytes
    return msgspec.structs.replace(contender, speed_ratio=speed, memory_ratio=memory)
