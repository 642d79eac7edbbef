"""The models that one may choose from, and what is known of each unloaded. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ptune_tui import hub
from ptune_tui.config import RunConfig, override
from ptune_tui.default_model import DEFAULT_MODEL
from ptune_tui.errors import PTuneError
from ptune_tui.estimate import Fit
from ptune_tui.known_models import numbers_of
from ptune_tui.model_catalogue import CATALOGUE, catalogued
from ptune_tui.models import base_reference, cached_models, local_model
from ptune_tui.tui.fitting import FitLine, fit_line, fit_lines
from ptune_tui.tui.wording import path_text

DEFAULT = "default"


@dataclass(frozen=True)
class ModelRow:
    """A model in the list.

    Attributes:
        source: What `--model` takes.
        name: What it is called.
        num_parameters: Its weights; None where its files do not say.
        is_here: Whether it lies on this disk.
        num_bytes: On this disk, or to fetch.
        licence: Empty where it is not known.
        is_gated: Whether the hub asks for an account that has accepted the licence.
        fit: How it fits this machine, with the form as it is.
    """

    source: str
    name: str
    num_parameters: int | None
    is_here: bool
    num_bytes: int
    licence: str
    is_gated: bool
    fit: FitLine


def model_rows(config: RunConfig) -> list[ModelRow]:
    """The default model, those of the cache, and the catalogue. Reads files; no network.

    Args:
        config (RunConfig): The form, for the fit.
    """
    by_source: dict[str, tuple[str, str, bool, int, str]] = {}
    for entry in _cached():  # `a.gguf` and `a/a.gguf` have one name, which means the first
        by_source.setdefault(entry[0], entry)
    found, here = by_source.values(), by_source.keys()
    listed = [model for model in CATALOGUE if model.hub_id not in here]
    fits = fit_lines(config, [*here, *(model.hub_id for model in listed)])
    rows = [
        ModelRow(source, name, _num_parameters(source), is_here, size, licence, False, fits[source])
        for source, name, is_here, size, licence in found
    ]
    return rows + [
        ModelRow(
            source=model.hub_id,
            name=model.hub_id,
            num_parameters=model.numbers.num_parameters,
            is_here=False,
            num_bytes=model.download_bytes,
            licence=model.licence,
            is_gated=model.is_gated,
            fit=fits[model.hub_id],
        )
        for model in listed
    ]


def _cached() -> Iterator[tuple[str, str, bool, int, str]]:
    """Source, name, whether it is here, bytes and licence: the default model first."""
    default = DEFAULT_MODEL
    is_here = local_model(DEFAULT) is not None
    size = default.num_bytes if is_here else default.wheel.num_bytes
    yield DEFAULT, f"{default.name} (default)", is_here, size, default.licence
    for model in cached_models():
        if model.path != default.path:
            yield model.name, model.name, True, model.num_bytes, model.licence or ""


def describe_model(source: str, config: RunConfig) -> list[str]:
    """What is known of a model, a sentence each. Reads files; no network.

    Args:
        source (str): What `--model` takes.
        config (RunConfig): The form, for the fit.
    """
    path = local_model(source)
    entry = catalogued(source)
    lines = [_where(source, path)]
    licence = entry.licence if entry else base_reference(source).licence
    lines.append(f"Licence: {licence or 'not stated; look at its page'}.")
    if entry is not None and entry.is_gated and path is None:
        lines.append("Gated: accept its terms on the hub, then `hf auth login`.")
    num_parameters = _num_parameters(source)
    if num_parameters is not None:
        lines.append(f"{num_parameters / 1e6:,.0f} M weights.")
    line = fit_line(override(config, {"model.source": source}))
    lines.append(f"{line.text}.")
    if line.advice:
        lines.append(f"To make it fit, {line.advice}.")
    return lines


def _where(source: str, path: Path | None) -> str:
    if path is not None:
        return f"On this disk: {path_text(path)}"
    if source == DEFAULT:
        return "It is fetched once, from the package index, when a run or a preview begins."
    if hub.HUB_ID.fullmatch(source):
        return "It is fetched once, from the Hugging Face hub, when a run or a preview begins."
    return "It is not on this disk."


def is_model_folder(path: Path) -> bool:
    """Whether a folder holds a model: a configuration and weights, or one GGUF file."""
    try:
        if (path / "config.json").is_file() and any(path.glob("*.safetensors")):
            return True
        return len(list(path.glob("*.gguf"))) == 1
    except OSError:
        return False


def fit_word(fit: Fit | None) -> str:
    """A verdict with its mark."""
    return f"{FIT_MARKS[fit]} {fit or 'unknown'}"


FIT_MARKS: dict[Fit | None, str] = {"fits": "✓", "tight": "!", "does not fit": "✗", None: "?"}


def _num_parameters(source: str) -> int | None:
    try:
        numbers = numbers_of(source)
    except PTuneError:
        return None
    return numbers.num_parameters if numbers else None
