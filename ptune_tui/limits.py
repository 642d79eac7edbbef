"""The largest settings whose estimate still fits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ptune_tui.estimate import estimate, fit
from ptune_tui.model_numbers import ModelNumbers
from ptune_tui.step_setting import Setting, TrainingKernel
from ptune_tui.throughput import Throughput

MOST = 1 << 16
_WORTHWHILE_SPEEDUP = 1.2  # of integer products, as in the planner


@dataclass(frozen=True)
class Limits:
    """The largest that fits of each number, the others left as they are; 0: not even one.

    Attributes:
        num_rows: Rows computed at a time.
        num_row_tokens: Tokens of a row.
        num_virtual_tokens: Length of the soft prompt.
    """

    num_rows: int
    num_row_tokens: int
    num_virtual_tokens: int


def auto_kernels(machine: Throughput | None) -> tuple[TrainingKernel, ...]:
    """The kernels that are tried where the user names none, in order.

    Args:
        machine (Throughput | None): The machine's figures; None where they are not known.
    """
    is_faster = machine and machine.int8_gops > _WORTHWHILE_SPEEDUP * machine.float_gops
    return ("int8", "stream") if is_faster else ("cached", "stream")


def first_that_fits(
    numbers: ModelNumbers,
    setting: Setting,
    available_bytes: int,
    kernels: Sequence[TrainingKernel],
) -> Setting:
    """The setting with the first kernel that fits, else with fewer rows at a time.

    Args:
        numbers (ModelNumbers): The model's sizes.
        setting (Setting): What is wanted; its rows at a time are kept where they are not 0.
        available_bytes (int): Memory.
        kernels (Sequence[TrainingKernel]): Which kernels, in order.

    Returns:
        A setting that fits; where none does, the one of the last kernel.
    """
    candidates = [dataclasses.replace(setting, kernel=kernel) for kernel in kernels]
    for candidate in candidates:
        if fit(estimate(numbers, candidate).peak_bytes, available_bytes) == "fits":
            return candidate
    for candidate in candidates if setting.micro_batch_size == 0 else ():
        num_rows = limits(numbers, candidate, available_bytes).num_rows
        if num_rows:
            return dataclasses.replace(candidate, micro_batch_size=num_rows)
    return candidates[-1]


def limits(numbers: ModelNumbers, setting: Setting, available_bytes: int) -> Limits:
    """The largest settings that fit.

    Args:
        numbers (ModelNumbers): The model's sizes.
        setting (Setting): The setting that each number is changed in.
        available_bytes (int): Memory; a fifth is left free, as in `estimate.fit`.
    """

    def largest(change: Callable[[int], Setting]) -> int:
        return _largest(
            lambda value: (
                fit(estimate(numbers, change(value)).peak_bytes, available_bytes) == "fits"
            )
        )

    return Limits(
        num_rows=largest(
            lambda rows: dataclasses.replace(setting, batch_size=rows, micro_batch_size=rows)
        ),
        num_row_tokens=largest(lambda tokens: dataclasses.replace(setting, num_row_tokens=tokens)),
        num_virtual_tokens=largest(
            lambda tokens: dataclasses.replace(setting, num_virtual_tokens=tokens)
        ),
    )


def _largest(fits: Callable[[int], bool]) -> int:
    """The largest value up to `MOST` for which something holds that holds for all below it."""
    low, high = 0, MOST
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
