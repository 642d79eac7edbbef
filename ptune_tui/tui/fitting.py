"""The fit line: whether a run goes into this machine's memory, the numbers behind it, and advice.

The advice is about what the user can change, and holds: each change is tried with the estimate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import ptune_tui
from ptune_tui.config import DataConfig, RunConfig, override
from ptune_tui.errors import PTuneError
from ptune_tui.estimate import Fit, estimate, fit
from ptune_tui.hardware import Machine, compiles_passes, machine
from ptune_tui.known_models import numbers_of
from ptune_tui.limits import auto_kernels, first_that_fits
from ptune_tui.model_numbers import ModelNumbers
from ptune_tui.reading.formats import JSON_LINES, SEPARATORS
from ptune_tui.reading.source import files_of
from ptune_tui.step_setting import Setting
from ptune_tui.throughput import processor_throughput
from ptune_tui.tui.fields import builtin_sets
from ptune_tui.tui.fit_advice import advice
from ptune_tui.tui.wording import bytes_text

CHARACTERS_PER_TOKEN = 3  # few, so that the estimate errs upwards
MAX_READ_BYTES = 32 << 20


@dataclass(frozen=True)
class FitLine:
    """One line about memory.

    Attributes:
        fit: None where it cannot be told.
        text: The sentence, numbers included.
        advice: What to change where it does not fit, or hardly; empty where nothing need be.
    """

    fit: Fit | None
    text: str
    advice: str = ""


def fit_line(config: RunConfig) -> FitLine:
    """Estimate a run against this machine. Reads files; not for the event loop.

    Args:
        config (RunConfig): The run.
    """
    return _line(config, machine(), is_advised=True)


def fit_lines(config: RunConfig, sources: Iterable[str]) -> dict[str, FitLine]:
    """The same run on several models, by what `--model` takes.

    Args:
        config (RunConfig): The run.
        sources (Iterable[str]): The models.
    """
    here = machine()
    return {
        source: _line(override(config, {"model.source": source}), here, is_advised=False)
        for source in sources
    }


def _line(config: RunConfig, here: Machine, *, is_advised: bool) -> FitLine:
    try:
        numbers = numbers_of(config.model.source)
    except PTuneError as error:
        return FitLine(None, f"memory not estimated: {error.message}")
    if numbers is None:
        return FitLine(None, "memory not estimated: the model is not on this disk yet")
    return _compare(config, numbers, here, is_advised=is_advised)


def _compare(
    config: RunConfig, numbers: ModelNumbers, here: Machine, *, is_advised: bool = True
) -> FitLine:
    is_cuda = _is_cuda(config, here)
    card = here.accelerator.free_memory_bytes if here.accelerator else None
    available = card if is_cuda else here.available_memory_bytes
    if available is None:
        return FitLine(None, "memory not estimated: this machine does not say what is free")
    speed = None if is_cuda else processor_throughput(here.processor_flags, 1)
    model = config.model
    kernels = auto_kernels(speed) if model.kernel == "auto" else (model.kernel,)
    setting = first_that_fits(numbers, _wanted(config, is_cuda=is_cuda), available, kernels)
    needed = estimate(numbers, setting).peak_bytes
    verdict = fit(needed, available)
    if verdict != "fits" and setting.micro_batch_size == 0:
        setting = dataclasses.replace(setting, micro_batch_size=1)  # the least that it can take
        needed = estimate(numbers, setting).peak_bytes
        verdict = fit(needed, available)
    rows = f"{setting.batch_size} x {setting.num_row_tokens} tokens"
    if setting.num_micro_batches > 1:
        rows += f", {setting.num_rows} row{'s' * (setting.num_rows > 1)} at a time"
    return FitLine(
        verdict,
        f"{verdict}: {bytes_text(needed)} of {bytes_text(available)} free "
        f"({setting.kernel}, {rows})",
        advice(config, numbers, setting, available) if is_advised and verdict != "fits" else "",
    )


def _is_cuda(config: RunConfig, here: Machine) -> bool:
    device = config.model.device
    return device == "cuda" or (device == "auto" and here.accelerator is not None)


def _wanted(config: RunConfig, *, is_cuda: bool) -> Setting:
    model, method, training = config.model, config.method, config.training
    return Setting(
        method=method.name,
        num_virtual_tokens=method.num_virtual_tokens,
        batch_size=training.batch_size,
        micro_batch_size=training.micro_batch_size,
        num_row_tokens=row_tokens(config.data),
        checkpointing=training.checkpointing == "on",
        device="cuda" if is_cuda else "cpu",
        mlp_size=method.mlp_size,
        rank=method.rank,
        reparametrise=method.reparametrise,
        has_compiled_passes=compiles_passes() and model.compute_type in ("auto", "float32"),
    )


def row_tokens(data: DataConfig) -> int:
    """Tokens of the longest row, about, from the bytes of the file's longest line.

    Where rows are not lines of a file, or those of a folder, it is the longest that is allowed.
    """
    path = data_file(data)
    if path.suffix not in (*JSON_LINES, *SEPARATORS):
        return data.max_tokens
    try:
        longest = _longest_line(str(path), path.stat().st_mtime_ns)
    except OSError:
        return data.max_tokens
    return min(data.max_tokens, longest // CHARACTERS_PER_TOKEN + 1)


def data_file(data: DataConfig) -> Path:
    """Where the training rows lie."""
    if data.train in builtin_sets():
        return Path(ptune_tui.__file__).parent / "builtin_data" / data.train / "train.jsonl"
    return Path(data.train).expanduser()


def changed_at(name: str) -> tuple[int, ...]:
    """When each file of a data set was changed last, in ns: what is kept of it holds as long.

    Args:
        name (str): What `files_of` takes, on this disk.

    Raises:
        DataError: As `files_of`.
    """
    return tuple(file.stat().st_mtime_ns for file in files_of(name))


@lru_cache(maxsize=8)
def _longest_line(path: str, _changed: int) -> int:
    with Path(path).open("rb") as file:
        return max((len(line) for line in file.readlines(MAX_READ_BYTES)), default=0)
