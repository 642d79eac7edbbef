"""The form of a comparison beside the disk: what it asks for, and what is wrong. Draws nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from dataclasses import dataclass

from ptune_tui.lineup import Lineup
from ptune_tui.reading import source
from ptune_tui.tui.compare_choice import (
    NO_PROMPT,
    OWN_FILE,
    OWN_FOLDER,
    VALIDATION,
    NamedBundle,
    RowsChoice,
    keys_of,
    labels_of,
)
from ptune_tui.tui.compare_subjects import Subject, precisions_of
from ptune_tui.tui.fields import builtin_sets


@dataclass(frozen=True)
class CheckedComparison:
    """The form beside the disk.

    Attributes:
        lineup: Who is compared; None where a field is wrong.
        rows: On which rows; None where a field is wrong.
        problems: What is wrong, by field.
    """

    lineup: Lineup | None
    rows: RowsChoice | None
    problems: dict[str, str]


def check_comparison(
    texts: Mapping[str, str], ticked: Set[str], subject: Subject | None, bundle: NamedBundle
) -> CheckedComparison:
    """Read the whole form. Looks at the disk; not for the event loop.

    Args:
        texts (Mapping[str, str]): The form, by name of the field.
        ticked (Set[str]): The lines that are ticked, by key or precision.
        subject (Subject | None): What the form names.
        bundle (NamedBundle): Its bundle.
    """
    lineup, problems = read_lineup(texts, ticked, subject, bundle)
    rows, more = read_rows(texts, subject)
    return CheckedComparison(lineup, rows, {**problems, **more})


def read_lineup(
    texts: Mapping[str, str], ticked: Set[str], subject: Subject | None, bundle: NamedBundle
) -> tuple[Lineup | None, dict[str, str]]:
    """Who is compared, and what is wrong by field. Looks at the disk.

    Args:
        texts (Mapping[str, str]): The form, by name of the field.
        ticked (Set[str]): The lines that are ticked, by key or precision.
        subject (Subject | None): What the form names.
        bundle (NamedBundle): Its bundle.
    """
    if subject is None:
        is_missing = texts["of"] == OWN_FOLDER
        return None, {"folder": "there is neither a run nor a bundle"} if is_missing else {}
    problems = {}
    card = bundle.card
    if bundle.folder is not None and card is None:
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
        bundle=str(bundle.folder.absolute()) if bundle.folder and precisions else None,
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
