"""The form of an export beside the disk: what follows from it, what is wrong, whether it has room.

Draws nothing. Reads manifests and asks for the disk's room, so it is for a thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ptune_tui.bundles import BundleCard, check_prompt_name, read_card
from ptune_tui.errors import UsageError
from ptune_tui.events import ModelReady
from ptune_tui.hardware import free_disk_bytes
from ptune_tui.tasks import ExportPrecision, FloatType
from ptune_tui.tui.export_choice import (
    FOLDERS,
    FORCE,
    MAKES,
    REPLACE,
    ExportChoice,
    ExportSource,
    Make,
)
from ptune_tui.tui.wording import bytes_text

_SLACK = 1.15  # graphs, tokenizers and the prompt, beside the weights
_FLOAT_BYTES = 4
_WEIGHT_BYTES: dict[FloatType, int] = {"float32": 4, "bfloat16": 2}
# No such user, a folder that may not be read, a name that is too long.
_NOT_TO_BE_LOOKED_AT = (OSError, RuntimeError)


@dataclass(frozen=True)
class CheckedForm:
    """A form, and what the disk says to it.

    Attributes:
        choice: What it asks for; None where something is wrong.
        problems: What is wrong, by field.
        is_taken: Whether something would be replaced.
        has_room: Whether the disk has.
        space: The figures of that; empty where they are not known.
    """

    choice: ExportChoice | None
    problems: dict[str, str]
    is_taken: bool
    has_room: bool = True
    space: str = ""


def check_form(texts: Mapping[str, str], sources: Mapping[str, ExportSource]) -> CheckedForm:
    """Look at everything that a form names.

    Args:
        texts (Mapping[str, str]): The form, by name of the field.
        sources (Mapping[str, ExportSource]): The runs by what the form calls them.
    """
    choice, problems = read_choice(texts, sources)
    if choice is None:
        return CheckedForm(None, problems, is_taken(texts))
    return CheckedForm(choice, problems, is_taken(texts), *space_line(choice))


def default_destination(make: Make, source: ExportSource, sources: Sequence[ExportSource]) -> str:
    """Where an export goes unless another folder is named; empty where nothing fits.

    Args:
        make (Make): What is made.
        source (ExportSource): Of which run.
        sources (Sequence[ExportSource]): The runs whose bundles a prompt could be added to.
    """
    if make in FOLDERS:
        return str(source.path / FOLDERS[make])
    for other in sources:
        bundle = other.path / FOLDERS["new bundle"]
        card = read_card(bundle)
        if other != source and card is not None and _is_same_base(card, source):
            return str(bundle)
    return ""


def read_choice(
    texts: Mapping[str, str], sources: Mapping[str, ExportSource]
) -> tuple[ExportChoice | None, dict[str, str]]:
    """The choice that a form holds, and what is wrong by field. Looks at the disk.

    Args:
        texts (Mapping[str, str]): The form, by name of the field.
        sources (Mapping[str, ExportSource]): The runs by what the form calls them.
    """
    source = sources.get(texts["run"])
    if source is None:
        return None, {}
    try:
        destination = Path(texts["to"].strip()).expanduser()
        free_disk_bytes(destination.absolute())
    except _NOT_TO_BE_LOOKED_AT as error:
        return None, {"to": f"the folder cannot be looked at: {error}"}
    has_taken = is_taken(texts)
    choice = ExportChoice(
        source=source,
        make=next(make for make in MAKES if make == texts["make"]),
        precision=next(name for name in get_args(ExportPrecision) if name == texts["precision"]),
        name=texts["name"].strip(),
        destination=destination,
        replaces=texts["taken"] == REPLACE and has_taken,
        float_type=_float_type(texts),
        forces=texts["weights"] == FORCE,
    )
    problems = {}
    if choice.is_of_bundle:
        try:
            check_prompt_name(choice.name)
        except UsageError as error:
            problems["name"] = f"{error.message} {error.hint}"
    problem = _destination_problem(choice, texts["to"].strip())
    if problem:
        problems["to"] = problem
    elif has_taken and not choice.replaces:
        problems["taken"] = "it is there already; choose to replace it, or another folder or name"
    return (None if problems else choice), problems


def _float_type(texts: Mapping[str, str]) -> FloatType:
    """Only a transformers folder has a choice: the others keep the grid."""
    if texts["make"] != "transformers folder":
        return "float32"
    return next(name for name in get_args(FloatType) if name == texts["dtype"])


def is_taken(texts: Mapping[str, str]) -> bool:
    """Whether something would be replaced: a folder, or a prompt in a bundle.

    Args:
        texts (Mapping[str, str]): The form.
    """
    if not texts["to"].strip():
        return False
    try:
        folder = Path(texts["to"].strip()).expanduser()
        if texts["make"] != "prompt into a bundle":
            return folder.exists()
    except _NOT_TO_BE_LOOKED_AT:
        return False  # `read_choice` says so
    card = read_card(folder)
    return card is not None and texts["name"].strip() in card.prompts


def _destination_problem(choice: ExportChoice, text: str) -> str:
    if not text:
        wanted = "a bundle on the same base" if choice.is_addition else "a folder"
        return f"name {wanted}"
    if not choice.is_addition:
        return ""
    card = read_card(choice.destination)
    if card is None:
        return "there is no bundle"
    if not _is_same_base(card, choice.source):
        return f"its base is {card.model_name}, with other weights than the run's"
    return ""


def _is_same_base(card: BundleCard, source: ExportSource) -> bool:
    return source.model is not None and card.weights_hash == source.model.weights_hash


def space_line(choice: ExportChoice) -> tuple[bool, str]:
    """Whether there is room for an export, and the figures. The worker's own check decides.

    Args:
        choice (ExportChoice): What is asked for.
    """
    free = free_disk_bytes(choice.destination.absolute())
    model = choice.source.model
    if free is None or model is None:
        return True, ""
    needed = _needed_bytes(choice, model)
    words = f"needs about {bytes_text(needed)}, {bytes_text(free)} free"
    return needed <= free, words if needed <= free else f"{words}: too little"


def _needed_bytes(choice: ExportChoice, model: ModelReady) -> float:
    if choice.is_addition:
        num_tokens = choice.source.config.method.num_virtual_tokens
        keys_values = 2 * model.num_layers * model.hidden_size * num_tokens * _FLOAT_BYTES
        return 3 * keys_values  # of each graph, at most
    if choice.make == "transformers folder":
        return _SLACK * _WEIGHT_BYTES[choice.float_type] * model.num_parameters
    has_integers = choice.make == "new bundle" and choice.precision in ("auto", "throughput")
    return _SLACK * (model.quantised_bytes + model.num_parameters * has_integers)
