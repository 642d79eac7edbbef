"""What a comparison is asked for: who, on which rows; its task and its command. Draws nothing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ptune_tui.bundles import BundleCard, read_card
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.lineup import LinePrecision, Lineup
from ptune_tui.reading import source
from ptune_tui.tasks import CompareTask
from ptune_tui.tui.compare_subjects import Subject, precisions_of
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


def read_lineup(
    texts: Mapping[str, str], ticked: Set[str], subject: Subject | None
) -> tuple[Lineup | None, dict[str, str]]:
    """Who is compared, and what is wrong by field. Looks at the disk.

    Args:
        texts (Mapping[str, str]): The form, by name of the field.
        ticked (Set[str]): The lines that are ticked, by key or precision.
        subject (Subject | None): What the form names.
    """
    if subject is None:
        is_missing = texts["of"] == OWN_FOLDER
        return None, {"folder": "there is neither a run nor a bundle"} if is_missing else {}
    problems = {}
    bundle, card = bundle_of(texts, subject)
    if bundle is not None and card is None:
        problems["bundle"] = "there is no bundle; leave it empty for torch alone"
    precisions = [name for name in precisions_of(card) if name in ticked] if card else []
    keys = tuple(key for key in keys_of(subject) if key in ticked)
    is_tuned = "tuned" in keys or bool(precisions)
    if not is_tuned:
        problems["lines"] = "tick the tuned prompt or a precision of the bundle"
    if "lora" in keys and subject.training_seconds is None:
        problems["lines"] = "LoRA gets the run's time, and this run has none: untick it"
    num_examples, problem = _number(texts["examples"])
    if problem and "few_shot" in keys:
        problems["examples"] = problem
    instruction = texts["instruction"].replace("\\n", "\n").strip() or None
    labels = labels_of(subject, card, texts["prompt"])
    if "instruction" in keys:
        if instruction is None and labels is None:
            problems["instruction"] = "for free text none can be proposed: write one, or untick it"
        if instruction is not None and instruction.count("{prompt}") > 1:
            problems["instruction"] = "write {prompt} once, where the text goes"
    train = os.path.expanduser(texts["train"].strip()) or None
    if "few_shot" in keys and subject.run is None and train is None:
        problems["train"] = "a bundle does not know its rows: name some, or untick few-shot"
    reads_train = not {"few_shot", "lora"}.isdisjoint(keys)
    if reads_train and train is not None:
        problems |= _data_problem("train", train)
    if problems:
        return None, problems
    lineup = Lineup(
        run=str(subject.run.absolute()) if subject.run else None,
        bundle=str(bundle.absolute()) if bundle and precisions else None,
        prompt=texts["prompt"] if precisions and texts["prompt"] != NO_PROMPT else None,
        precisions=tuple(precisions),
        keys=keys,
        instruction=instruction if "instruction" in keys else None,
        num_examples=num_examples if "few_shot" in keys else None,
        train=source.absolute(train) if train and reads_train else None,
    )
    return lineup, {}


def read_rows(
    texts: Mapping[str, str], subject: Subject | None
) -> tuple[RowsChoice | None, dict[str, str]]:
    """On which rows, and what is wrong by field. Looks at the disk.

    Args:
        texts (Mapping[str, str]): The form, by name of the field.
        subject (Subject | None): What the form names.
    """
    problems = {}
    max_rows, problem = _number(texts["rows"])
    if problem:
        problems["rows"] = problem
    data: str | None = texts["data"]
    if data == VALIDATION:
        data = None
    elif data == OWN_FILE:
        data = os.path.expanduser(texts["file"].strip())
        problems |= _data_problem("file", data)
    if data is None and subject is not None and subject.run is None:
        problems["data"] = "a bundle has no rows of its own"
    if problems or subject is None:
        return None, problems
    return RowsChoice(source.absolute(data) if data else None, max_rows), {}


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


def bundle_of(texts: Mapping[str, str], subject: Subject) -> tuple[Path | None, BundleCard | None]:
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
    return folder, None if folder is None else read_card(folder)


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


def _number(text: str) -> tuple[int | None, str]:
    """A whole number above 0 or nothing, and what is wrong with it."""
    text = text.strip()
    if not text:
        return None, ""
    if not text.isdecimal() or int(text) < 1:
        return None, f"a whole number above 0 is needed, not `{text}`"
    return int(text), ""


def _data_problem(name: str, text: str) -> dict[str, str]:
    if not text:
        return {name: "name a file, a folder or a hub id"}
    try:
        is_known = text in builtin_sets() or source.is_known(text)
    except OSError as error:  # a folder that may not be read, a name that is too long
        return {name: f"it cannot be looked at: {error}"}
    return {} if is_known else {name: f"there is no file {text}"}
