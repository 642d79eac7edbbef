"""The command that does what a form does."""

from __future__ import annotations

import shlex

import msgspec

from ptune_tui.config import RunConfig, field_names

_OPTIONS = {
    "model.source": "model",
    "data.train": "data",
    "method.name": "method",
    "training.num_threads": "threads",
}


def train_command(config: RunConfig, command: str = "train") -> str:
    """`ptune train` with an option for every field that is not at its default.

    Args:
        config (RunConfig): The run.
        command (str): Another command that takes the same options.
    """
    chosen, defaults = msgspec.to_builtins(config), msgspec.to_builtins(RunConfig())
    words = ["ptune", command]
    for name in field_names():
        part, key = name.split(".")
        value = chosen[part][key]
        if value != defaults[part][key]:
            words += [f"--{_OPTIONS.get(name, key).replace('_', '-')}", str(value)]
    return shlex.join(words)
