"""The fit line: whether a run goes into this machine's memory, and the numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import ptune_tui
from ptune_tui import default_model, models
from ptune_tui.config import DataConfig, RunConfig
from ptune_tui.errors import PTuneError
from ptune_tui.hardware import Fit, estimate_training_memory, fit, machine
from ptune_tui.model_numbers import DEFAULT_MODEL_NUMBERS, ModelNumbers, read_model_numbers
from ptune_tui.tui.wording import bytes_text

CHARACTERS_PER_TOKEN = 3  # few, so that the estimate errs upwards
MAX_READ_BYTES = 32 << 20


@dataclass(frozen=True)
class FitLine:
    """One line about memory.

    Attributes:
        fit: None where it cannot be told.
        text: The sentence, numbers included.
    """

    fit: Fit | None
    text: str


def fit_line(config: RunConfig) -> FitLine:
    """Estimate a run against this machine. Reads files; not for the event loop.

    Args:
        config (RunConfig): The run.
    """
    try:
        numbers = _numbers(config.model.source)
    except PTuneError as error:
        return FitLine(None, f"memory not estimated: {error.message}")
    if numbers is None:
        return FitLine(None, "memory not estimated: the model is not on this disk yet")
    available = machine().available_memory_bytes
    if available is None:
        return FitLine(None, "memory not estimated: this machine does not say what is free")
    return _compare(config, numbers, available)


def _compare(config: RunConfig, numbers: ModelNumbers, available: int) -> FitLine:
    num_row_tokens = row_tokens(config.data)
    kernels: tuple[Literal["cached", "stream"], ...] = ("cached", "stream")
    if config.model.kernel != "auto":
        kernels = (config.model.kernel,)
    for kernel in kernels:
        needed = estimate_training_memory(
            numbers,
            kernel=kernel,
            batch_size=config.training.batch_size,
            num_row_tokens=num_row_tokens,
            num_virtual_tokens=config.method.num_virtual_tokens,
        )
        verdict = fit(needed, available)
        if verdict == "fits":
            break
    return FitLine(
        verdict,
        f"{verdict}: {bytes_text(needed)} of {bytes_text(available)} free "
        f"({kernel}, {config.training.batch_size} x {num_row_tokens} tokens)",
    )


def row_tokens(data: DataConfig) -> int:
    """Tokens of the longest row, about, from the bytes of the file's longest line."""
    path = data_file(data)
    try:
        longest = _longest_line(str(path), path.stat().st_mtime_ns)
    except OSError:
        return data.max_tokens
    return min(data.max_tokens, longest // CHARACTERS_PER_TOKEN + 1)


def data_file(data: DataConfig) -> Path:
    """Where the training rows lie."""
    builtin = Path(ptune_tui.__file__).parent / "builtin_data" / data.train / "train.jsonl"
    return builtin if builtin.is_file() else Path(data.train).expanduser()


def local_model(source: str) -> Path | None:
    """Where a model lies on this disk; None where it would have to be fetched."""
    if source in ("default", default_model.DEFAULT_MODEL.name):
        path = default_model.DEFAULT_MODEL.path
        return path if path.is_file() else None
    path = Path(source).expanduser()
    if path.exists():
        return path
    return next((model.path for model in models.cached_models() if model.name == source), None)


def _numbers(source: str) -> ModelNumbers | None:
    if source in ("default", default_model.DEFAULT_MODEL.name):
        return DEFAULT_MODEL_NUMBERS
    path = local_model(source)
    return _numbers_of(path) if path else None


@lru_cache(maxsize=8)
def _numbers_of(path: Path) -> ModelNumbers:
    files = sorted(path.glob("*.gguf")) if path.is_dir() else []
    has_config = (path / "config.json").is_file()
    return read_model_numbers(files[0] if files and not has_config else path)


@lru_cache(maxsize=8)
def _longest_line(path: str, _changed: int) -> int:
    with Path(path).open("rb") as file:
        return max((len(line) for line in file.readlines(MAX_READ_BYTES)), default=0)
