"""What `ptune eval` is asked for: which lines the table has, and what they are given."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptune_tui.errors import UsageError
from ptune_tui.evaluation.columns import RECOGNISED, Columns
from ptune_tui.evaluation.keys import ContenderKey

if TYPE_CHECKING:
    from export.precisions import Precision

_NAMES: dict[str, ContenderKey] = {
    "base": "base",
    "instruction": "instruction",
    "few-shot": "few_shot",
    "bundle": "bundle",
    "lora": "lora",
}


@dataclass(frozen=True)
class EvaluationRequest:
    """One table.

    Attributes:
        data: Rows with responses, or a built-in set; None: the run's validation rows.
        baselines: What stands beside the target.
        is_named: Whether the user named the baselines; else one that cannot be had is left out.
        columns: Of the data.
        max_rows: Only the first rows.
        bundle: The run's bundle; None exports one for the occasion.
        prompt: Which of a bundle's prompts.
        precision: Of a bundle.
        num_threads: Of a bundle.
        instruction: None: proposed from the labels.
        num_examples: Of few-shot; None: by the number of labels.
        train: Rows for examples and LoRA; None: those of training.
        seed: Of the examples and of LoRA.
        with_probabilities: Whether every label is scored; None: where they are few.
        with_forgetting: Whether the prompt's cost elsewhere is measured; None: where the base is.
        lora_seconds: None: as long as the run trained.
        force: Whether a prompt may be scored on other weights than it was trained on.
        is_quiet: Whether no progress is shown.
    """

    data: str | None
    baselines: tuple[ContenderKey, ...] = ()
    is_named: bool = True
    columns: Columns = RECOGNISED
    max_rows: int | None = None
    bundle: str | None = None
    prompt: str | None = None
    precision: Precision | None = None
    num_threads: int = 0
    instruction: str | None = None
    num_examples: int | None = None
    train: str | None = None
    seed: int = 0
    with_probabilities: bool | None = None
    with_forgetting: bool | None = None
    lora_seconds: float | None = None
    force: bool = False
    is_quiet: bool = False

    @property
    def probes_forgetting(self) -> bool:
        """Whether the prompt's cost elsewhere is measured."""
        return "base" in self.baselines if self.with_forgetting is None else self.with_forgetting


def parse_baselines(text: str, *, of_bundle: bool) -> tuple[ContenderKey, ...]:
    """The contenders of a list of names, in the order of the table.

    Args:
        text (str): Names with commas, `all` or `none`.
        of_bundle (bool): Whether the target is a bundle, which is no baseline of itself and has
            nothing to train LoRA on.

    Raises:
        UsageError: A name is not known, or cannot be had here.
    """
    possible = [name for name in _NAMES if not of_bundle or name not in ("bundle", "lora")]
    if text in ("all", "none"):
        return tuple(_NAMES[name] for name in possible) if text == "all" else ()
    asked = {name.strip() for name in text.split(",") if name.strip()}
    for name in sorted(asked - set(possible)):
        where = "beside a bundle" if name in _NAMES else "at all"
        raise UsageError(
            f"There is no baseline `{name}` {where}.",
            f"Baselines here: {', '.join(possible)}, all, none.",
        )
    return tuple(_NAMES[name] for name in possible if name in asked)


def command_line() -> str:
    """The command that runs now, to be typed again."""
    return shlex.join(["ptune", *sys.argv[1:]])
