"""What a comparison is asked for: who, on which rows; its task and its command. Draws nothing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ptune_tui.bundles import BundleCard, read_card
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.lineup import LinePrecision, Lineup
from ptune_tui.tasks import CompareTask
from ptune_tui.tui.compare_subjects import Subject
from ptune_tui.tui.fields import Field, builtin_sets
from ptune_tui.tui.wording import seconds_text

OWN_FOLDER = "a folder of mine"
OWN_FILE = "a file of mine"
VALIDATION = "its validation rows"
NOT_READ = "..."  # while the runs are being read
NO_PROMPT = "-"  # where no bundle is asked
KEYS: tuple[ContenderKey, ...] = ("base", "instruction", "few_shot", "tuned", "lora")
_OF_A_RUN = ("tuned", "lora")

FIELDS = (
    Field("of", "compare", "a run that has a prompt, or a bundle", NOT_READ, (NOT_READ,)),
    Field("folder", "folder", "of a run or of a bundle", "", unset="", path="folder"),
    Field(
        "bundle",
        "its bundle",
        "answers beside torch; empty: torch alone",
        "",
        unset="none",
        path="folder",
    ),
    Field("prompt", "prompt", "which of the bundle's prompts", NO_PROMPT, (NO_PROMPT,)),
    Field(
        "instruction",
        "instruction",
        "above each text; with {prompt}, the whole template",
        "",
        unset="proposed",
    ),
    Field(
        "examples",
        "examples",
        "of few-shot; empty: one a label, 8 to 100",
        "",
        number=int,
        unset="1 a label, 8-100",
    ),
    Field(
        "train",
        "examples from",
        "rows for few-shot and LoRA; empty: the run's",
        "",
        unset="the run's",
        path="data",
    ),
    Field("data", "data", "rows that the table is made of", VALIDATION, (VALIDATION,)),
    Field("file", "data file", "a file, a folder, or a hub id", "", unset="", path="data"),
    Field("rows", "first rows", "of the data; empty: all of them", "200", number=int, unset="all"),
)


@dataclass(frozen=True)
class RowsChoice:
    """On which rows.

    Attributes:
        data: A file, a folder, a hub id or a built-in set; None for the run's validation rows.
        max_rows: Only the first ones; None for all.
    """

    data: str | None
    max_rows: int | None


@dataclass(frozen=True)
class NamedBundle:
    """The bundle of a form.

    Attributes:
        folder: Where it is said to lie; None for no bundle.
        card: What it holds; None where there is none.
    """

    folder: Path | None
    card: BundleCard | None


NO_BUNDLE = NamedBundle(None, None)


def compare_task(lineup: Lineup, rows: RowsChoice, subject: Subject) -> CompareTask:
    """What a worker is asked to do.

    Args:
        lineup (Lineup): Who is compared.
        rows (RowsChoice): On which rows.
        subject (Subject): What the form names.
    """
    return CompareTask(lineup, rows.data, command(lineup, rows, subject), rows.max_rows)


def command(lineup: Lineup, rows: RowsChoice, subject: Subject) -> str:
    """The command that makes the same table; one more for each further precision.

    Args:
        lineup (Lineup): Who is compared.
        rows (RowsChoice): On which rows.
        subject (Subject): What the form names.
    """
    of_rows = ["--data", rows.data] if rows.data else []
    of_rows += ["--max-rows", str(rows.max_rows)] if rows.max_rows else []
    beside = [key.replace("_", "-") for key in lineup.keys if key != "tuned"]
    has_bundle = subject.run is not None and lineup.bundle is not None
    words = [*beside, "bundle"] if has_bundle else beside
    of_bundle = ["--bundle", _short(str(lineup.bundle))] if has_bundle else []
    of_bundle += ["--prompt", lineup.prompt] if lineup.prompt else []
    given = ["--instruction", lineup.instruction] if lineup.instruction else []
    given += ["--examples", str(lineup.num_examples)] if lineup.num_examples else []
    given += ["--train", lineup.train] if lineup.train else []
    commands = []
    for number, precision in enumerate(lineup.precisions or (None,)):
        names = words if number == 0 else (["bundle"] if has_bundle else [])
        line = ["ptune", "eval", subject.command_word, *of_rows]
        line += ["--baselines", ",".join(names) or "none", *of_bundle]
        line += ["--precision", precision] if precision else []
        commands.append(shlex.join([*line, *given] if number == 0 else line))
    return " && ".join(commands)


def _short(path: str) -> str:
    """A path from here on, where it lies below."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def bundle_of(texts: Mapping[str, str], subject: Subject) -> NamedBundle:
    """The bundle that the form names, and its card where there is one.

    Args:
        texts (Mapping[str, str]): The form.
        subject (Subject): What it names.
    """
    if subject.run is None:
        folder = subject.bundle
    else:
        text = texts["bundle"].strip()
        folder = Path(os.path.expanduser(text)) if text else None  # as it is without such a user
    return NamedBundle(folder, None if folder is None else read_card(folder))


def keys_of(subject: Subject) -> list[ContenderKey]:
    """The lines beside the bundle's that can be compared: some need a run.

    Args:
        subject (Subject): What is compared.
    """
    return [key for key in KEYS if subject.run is not None or key not in _OF_A_RUN]


def lora_note(subject: Subject) -> str:
    """How long LoRA takes; empty where it cannot be had.

    Args:
        subject (Subject): What is compared.
    """
    seconds = subject.training_seconds
    return "" if seconds is None else f"+ {seconds_text(seconds)} of training"


def labels_of(subject: Subject, card: BundleCard | None, prompt: str) -> list[str] | None:
    """The closed set of what is compared; None for free text.

    Args:
        subject (Subject): What is compared.
        card (BundleCard | None): Its bundle.
        prompt (str): Which of the bundle's prompts.
    """
    if subject.run is not None:
        return subject.labels
    known = card.prompts.get(prompt) if card else None
    return known.labels if known else None


def data_choices(subject: Subject | None) -> list[str]:
    """What the table can be made of.

    Args:
        subject (Subject | None): What is compared.
    """
    own = [VALIDATION] if subject is None or subject.run is not None else []
    return [*own, *builtin_sets(), OWN_FILE]


def default_ticks(subject: Subject, card: BundleCard | None, prompt: str) -> set[str]:
    """The lines that are compared unless others are ticked.

    Args:
        subject (Subject): What is compared.
        card (BundleCard | None): Its bundle.
        prompt (str): Which of the bundle's prompts.
    """
    ticks = {"base", "tuned", "few_shot"} if subject.run is not None else {"base"}
    if labels_of(subject, card, prompt) is not None:
        ticks.add("instruction")
    if card is not None and card.default_precision in get_args(LinePrecision):
        ticks.add(card.default_precision)
    return ticks
