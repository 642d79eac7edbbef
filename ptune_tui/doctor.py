"""Checks of the installation and the machine, for `ptune doctor`; imports nothing heavy."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptune_tui import default_model, paths
from ptune_tui.hardware import Machine, environment_num_threads, free_disk_bytes, machine

Status = Literal["ok", "warn", "fail"]

OLDEST_PYTHON = (3, 11)
LITTLE_DISK_BYTES = 1 << 30
LITTLE_MEMORY_BYTES = 2 << 30
SMALLEST_TERMINAL = (80, 24)

BASE_PACKAGES = (
    "textual",
    "textual-plot",
    "onnxruntime",
    "tokenizers",
    "jinja2",
    "numpy",
    "safetensors",
    "typer",
    "ftfy",
    "msgspec",
    "tomli-w",
    "platformdirs",
    "psutil",
)
TRAINING_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "accelerate",
    "gguf",
    "onnx",
    "onnxscript",
    "huggingface-hub",
)
SERVING_PACKAGES = ("starlette", "uvicorn")
JSON_PACKAGES = ("llguidance",)
EVALUATION_PACKAGES = ("rouge-score", "sacrebleu")
DATA_PACKAGES = ("pyarrow", "huggingface-hub")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        status: `ok`; `warn`, where something will not work or be slow; `fail`, where nothing will.
        detail: What was found.
        hint: What to do about it; empty where nothing is to be done.
    """

    name: str
    status: Status
    detail: str
    hint: str = ""


def _extra(name: str) -> str:
    """How to install an extra."""
    return f"pip install '.[{name}]'"


def checks() -> list[Check]:
    """Look at everything; takes a second at most."""
    here = machine()
    return [
        _python(),
        _packages("Base packages", BASE_PACKAGES, "fail", "pip install ."),
        _packages("Training extra", TRAINING_PACKAGES, "warn", _extra("train")),
        _packages("Serving extra", SERVING_PACKAGES, "warn", _extra("serve")),
        _packages("JSON extra", JSON_PACKAGES, "warn", _extra("json")),
        _packages("Data extra", DATA_PACKAGES, "warn", _extra("data")),
        _packages("Evaluation extra", EVALUATION_PACKAGES, "warn", _extra("eval")),
        _folder("Model cache", paths.models_folder()),
        _folder("Runs", paths.runs_folder()),
        _settings(),
        _default_model(),
        _disk(paths.models_folder()),
        _memory(here),
        _processor(here),
        _threads(here),
        _compiler(),
        _accelerator(here),
        _telemetry(),
        _terminal(),
    ]


def _python() -> Check:
    detail = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Check("Python", "fail", detail, "ptune needs Python 3.11 or newer.")
    return Check("Python", "ok", detail)


def _packages(name: str, packages: tuple[str, ...], if_missing: Status, install: str) -> Check:
    versions = {package: _version(package) for package in packages}
    detail = ", ".join(f"{package} {version}" for package, version in versions.items() if version)
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        hint = f"Missing: {', '.join(missing)}. In ptune's clone: `{install}`"
        return Check(name, if_missing, detail, hint)
    return Check(name, "ok", detail)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _folder(name: str, folder: Path) -> Check:
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check(
            name, "fail", f"{folder} cannot be written", "Set PTUNE_HOME to a folder that can."
        )
    return Check(name, "ok", str(folder))


def _settings() -> Check:
    """The app's settings: where they are, and what in them does not hold."""
    from ptune_tui.settings import read_settings
    from ptune_tui.tui.keymap import make_keymap

    path = paths.settings_file()
    folder = _folder("Settings", path.parent)
    if folder.status == "fail":
        return folder
    read = read_settings(path)
    problems = [read.problem] if read.problem else list(make_keymap(read.settings.keys).problems)
    there = str(path) if path.exists() else f"{path} (not there: the defaults hold)"
    if problems:
        return Check("Settings", "warn", there, " ".join(problems))
    return Check("Settings", "ok", there)


def _default_model() -> Check:
    model = default_model.DEFAULT_MODEL
    path = default_model.cached_default()
    if path:
        return Check("Default model", "ok", f"{path}, sha256 checked")
    if model.path.is_file():
        detail = f"{model.path} is damaged (wrong sha256)"
        return Check("Default model", "warn", detail, "It is fetched again at its next use.")
    size = f"{model.wheel.num_bytes / 1e6:.0f} MB"
    return Check("Default model", "ok", f"not fetched yet: {size} at its first use")


def _disk(folder: Path) -> Check:
    free = free_disk_bytes(folder)
    if free is None:
        return Check("Free disk", "warn", "unknown")
    detail = f"{free / 1e9:.1f} GB at {folder}"
    if free < LITTLE_DISK_BYTES:
        return Check("Free disk", "warn", detail, "A model and a bundle take some 300 MB.")
    return Check("Free disk", "ok", detail)


def _memory(here: Machine) -> Check:
    if here.available_memory_bytes is None or here.total_memory_bytes is None:
        return Check("Memory", "warn", "unknown")
    available, total = here.available_memory_bytes, here.total_memory_bytes
    detail = f"{available / 1e9:.1f} of {total / 1e9:.1f} GB available"
    if available < LITTLE_MEMORY_BYTES:
        hint = "Training the default model takes some 2 GB; use fewer rows a step."
        return Check("Memory", "warn", detail, hint)
    return Check("Memory", "ok", detail)


def _processor(here: Machine) -> Check:
    name = here.processor or "unknown"
    if here.processor_flags is None:
        return Check("Processor", "ok", f"{name}; instruction sets unknown")
    detail = f"{name}; {', '.join(here.processor_flags) or 'no vector extension that matters'}"
    if platform.machine().lower() in ("x86_64", "amd64") and "avx2" not in here.processor_flags:
        return Check(
            "Processor", "warn", detail, "Without AVX2 everything is several times slower."
        )
    return Check("Processor", "ok", detail)


def _threads(here: Machine) -> Check:
    detail = f"{here.num_usable_cores or '?'} usable, {here.num_physical_cores or '?'} physical"
    if (limit := environment_num_threads()) is not None:
        hint = "OMP_NUM_THREADS is followed; `--threads` goes before it."
        return Check("Threads", "ok", f"{detail}, OMP_NUM_THREADS={limit}", hint)
    return Check("Threads", "ok", detail)


def _compiler() -> Check:
    name = "C++ compiler"
    found = shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++")
    if found is None:
        return Check(
            name,
            "warn",
            "none",
            "Training works without, and is two to three times slower. On Debian: "
            "`apt install g++`.",
        )
    return Check(name, "ok", f"{found}, compiles the training step's passes at first use")


def _accelerator(here: Machine) -> Check:
    card = here.accelerator
    if card is None:
        return Check("NVIDIA card", "ok", "none found; none is needed")
    free, total = card.free_memory_bytes / 1e9, card.total_memory_bytes / 1e9
    return Check("NVIDIA card", "ok", f"{card.name}, {free:.1f} of {total:.1f} GB free")


def _telemetry() -> Check:
    value = os.environ.get("ORT_DISABLE_TELEMETRY")
    if value == "1":
        return Check("Telemetry", "ok", "ORT_DISABLE_TELEMETRY=1")
    detail = "ptune switches onnxruntime's off in its own processes"
    hint = "Set ORT_DISABLE_TELEMETRY=1 to switch it off for other programs as well."
    return Check("Telemetry", "ok", detail, hint)


def _terminal() -> Check:
    columns, lines = shutil.get_terminal_size()
    colour = _colour()
    detail = f"{columns} x {lines}, {colour}"
    if (columns, lines) < SMALLEST_TERMINAL or lines < SMALLEST_TERMINAL[1]:
        return Check("Terminal", "warn", detail, "The app wants 80 columns and 24 lines.")
    return Check("Terminal", "ok", detail)


def _colour() -> str:
    if os.environ.get("NO_COLOR"):
        return "no colour (NO_COLOR is set)"
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "16 million colours"
    terminal = os.environ.get("TERM", "")
    if terminal in ("", "dumb"):
        return "Windows console" if sys.platform == "win32" else "no colour"
    return "256 colours" if "256" in terminal else "16 colours"
