"""The command that does what a form does, and that makes a run again."""

from __future__ import annotations

import re
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
        if value == defaults[part][key]:
            continue
        option = _OPTIONS.get(name, key).replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            text = str(value)
            words += [f"--{option}", written_template(text) if key == "template" else text]
    return shlex.join(words)


def written_template(template: str) -> str:
    r"""A template in one line, as `--template` and the form take it: `\n` for a line break.

    A `\n` that it holds itself gets one more backslash; a line break behind a backslash stays one.

    Args:
        template (str): The template itself.
    """
    escaped = re.sub(r"(\\+)n", r"\1\\n", template)
    return re.sub(r"(?<!\\)\n", r"\\n", escaped)


def read_template(text: str) -> str:
    r"""The template that `written_template` has written.

    Args:
        text (str): As a user writes it; `\n` is a line break, `\\n` the two characters.
    """
    return re.sub(r"(\\+)n", lambda found: "\n" if len(found[1]) == 1 else f"{found[1][1:]}n", text)
