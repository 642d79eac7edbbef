"""What a run is made of: its files, the packages that compute, the machine. Torch-free."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Literal

from ptune_tui import __version__
from ptune_tui.config import DataConfig
from ptune_tui.data import BUILTIN_FOLDER, builtin_names
from ptune_tui.events import DataFile, ProvenanceNoted
from ptune_tui.hardware import machine

COMPUTING_PACKAGES = ("torch", "transformers", "tokenizers", "peft", "numpy", "safetensors")


def provenance(config: DataConfig, rows_hash: str) -> ProvenanceNoted:
    """What this process reads and computes on.

    Args:
        config (DataConfig): Where the rows are from.
        rows_hash (str): sha256 of all rows in tokens.
    """
    here = machine()
    versions = {"ptune": __version__, "python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in COMPUTING_PACKAGES}
    return ProvenanceNoted(
        files=data_files(config),
        rows_hash=rows_hash,
        versions=versions,
        system=f"{platform.system()} {platform.release()} ({platform.machine()})",
        processor=here.processor,
        num_usable_cores=here.num_usable_cores,
        total_memory_bytes=here.total_memory_bytes,
        accelerator=here.accelerator.name if here.accelerator else None,
    )


def data_files(config: DataConfig) -> list[DataFile]:
    """The files that the rows of a run are read from, with their hashes.

    Args:
        config (DataConfig): As `ptune_tui.data.load_data` takes it.
    """
    train, validation = Path(config.train), config.validation
    held_out = Path(validation) if validation else None
    if config.train in builtin_names():
        folder = BUILTIN_FOLDER / config.train
        train, held_out = folder / "train.jsonl", held_out or folder / "validation.jsonl"
    found = _hashed("train", train)
    return found + (_hashed("validation", held_out) if held_out else [])


def _hashed(role: Literal["train", "validation"], path: Path) -> list[DataFile]:
    """The file, or every file below the folder; none of a name that is looked up elsewhere."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return [
        DataFile(role, str(file), _sha256(file), file.stat().st_size)
        for file in files
        if file.is_file()
    ]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
