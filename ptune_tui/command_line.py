"""The command that does what a form does, and that makes a run again."""

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
    r"""`ptune train` with an option for every field that is not at its default.

    On a command line `\n` in a template is a line break, so a template that holds these two
    characters can only be in a file: the command then reads the run's `config.toml`.

    Args:
        config (RunConfig): The run.
        command (str): Another command that takes the same options.
    """
    if "\\n" in (config.data.template or ""):
        return f"ptune {command} config.toml"
    chosen, defaults = msgspec.to_builtins(config), msgspec.to_builtins(RunConfig())
    words = ["ptune", command]
    for name in field_names():
        part, key = name.split(".")
        value = chosen[part][key]
        if value == defaults[part][key]:
            continue
        option = _OPTIONS.get(name, key).replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            text = str(value)
            words += [f"--{option}", text.replace("\n", "\\n") if key == "template" else text]
    return shlex.join(words)
