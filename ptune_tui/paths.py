"""Where things lie on this machine. `PTUNE_HOME` moves all of it into one folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path | None:
    """The folder named by `PTUNE_HOME`, or None where the system's own places are used."""
    value = os.environ.get("PTUNE_HOME")
    return Path(value).expanduser() if value else None


def models_folder() -> Path:
    """Where downloaded models lie."""
    base = home()
    return (base / "models") if base else platformdirs.user_cache_path("ptune") / "models"


def data_sets_folder() -> Path:
    """Where data sets lie that were downloaded from the hub."""
    base = home()
    return (base / "data") if base else platformdirs.user_cache_path("ptune") / "data"


def runs_folder() -> Path:
    """Where runs lie that were given no folder of their own."""
    base = home()
    return (base / "runs") if base else platformdirs.user_data_path("ptune") / "runs"


def known_runs_file() -> Path:
    """Where the runs are noted that were given a folder of their own."""
    base = home()
    return (base if base else platformdirs.user_data_path("ptune")) / "known_runs.jsonl"


def curves_folder() -> Path:
    """Where learning curves lie that were given no folder of their own."""
    base = home()
    return (base / "curves") if base else platformdirs.user_data_path("ptune") / "curves"


def tasks_folder() -> Path:
    """Where short tasks (a preview, an evaluation of a bundle) keep their files."""
    base = home()
    return (base / "tasks") if base else platformdirs.user_cache_path("ptune") / "tasks"


def settings_file() -> Path:
    """The app's remembered settings."""
    base = home()
    root = base if base else platformdirs.user_config_path("ptune")
    return root / "settings.toml"
