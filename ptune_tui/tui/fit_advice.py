"""What to change in a run that does not fit into memory, or hardly. Draws nothing."""

from __future__ import annotations

import dataclasses

from ptune_tui.config import RunConfig
from ptune_tui.estimate import estimate, fit
from ptune_tui.limits import limits
from ptune_tui.model_catalogue import CATALOGUE
from ptune_tui.model_numbers import ModelNumbers
from ptune_tui.step_setting import Setting, TrainingKernel

LEAST_ROW_TOKENS = 32  # shorter rows hold too little of a text


def advice(config: RunConfig, numbers: ModelNumbers, setting: Setting, available_bytes: int) -> str:
    """The first change that makes a run fit, the least harmful first.

    Args:
        config (RunConfig): The run.
        numbers (ModelNumbers): Its model's sizes.
        setting (Setting): How its steps would be computed.
        available_bytes (int): Memory.
    """

    def fits(changed: Setting, model: ModelNumbers = numbers) -> bool:
        return fit(estimate(model, changed).peak_bytes, available_bytes) == "fits"

    also = ""  # what has to be changed besides
    if config.training.micro_batch_size > 1:
        most = limits(numbers, setting, available_bytes).num_rows
        if most:
            return f"set micro batch size to {most}, or 0 for what fits"
        also = ", and micro batch size to 0"
    least = dataclasses.replace(setting, micro_batch_size=1, kernel="stream")
    if config.model.kernel in ("cached", "int8"):
        if fits(least):
            return f"set kernel to stream{also}"
        also = f", kernel to stream{also}"
    if config.training.checkpointing != "on":
        if fits(dataclasses.replace(least, checkpointing=True)):
            return f"set checkpointing to on{also}"
        also = f", checkpointing to on{also}"
    least = dataclasses.replace(least, checkpointing=True)
    num_tokens = limits(numbers, least, available_bytes).num_row_tokens
    if num_tokens >= LEAST_ROW_TOKENS:
        return f"set max tokens to {num_tokens}{also}"
    own = dataclasses.replace(
        setting, micro_batch_size=config.training.micro_batch_size or 1, kernel=_last_kernel(config)
    )
    smaller = [
        model
        for model in CATALOGUE
        if model.numbers.num_parameters < numbers.num_parameters and fits(own, model.numbers)
    ]
    if smaller:
        return f"take a smaller model, such as {smaller[-1].hub_id.rpartition('/')[2]}"
    return "close other programs"


def _last_kernel(config: RunConfig) -> TrainingKernel:
    """The kernel of least memory among those that the run may take."""
    return "stream" if config.model.kernel == "auto" else config.model.kernel
