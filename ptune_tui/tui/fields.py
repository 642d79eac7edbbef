"""The form's fields: every field of the configuration, with its own description and default.

Draws nothing. Every value is held as text until the configuration has checked it (`form_values`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

import ptune_tui
from ptune_tui import models
from ptune_tui.config import RunConfig, field_names
from ptune_tui.presets import PresetName
from ptune_tui.tui.path_completion import PathKind

PRESET = "preset"  # of the form only: it fills other fields
NO_PRESET = "none"
MODEL = "model.source"
DATA = "data.train"
VALIDATION = "data.validation"
TEMPLATE = "data.template"
PROMPT_FIELD = "data.prompt_field"
RESPONSE_FIELD = "data.response_field"
OWN_PROMPT = "method.init_prompt"  # shown where `init` is "prompt"
ON, OFF = "on", "off"

Chooser = Literal["model", "data", "validation", "template", "earlier prompt"]

# Those that most runs set; the others of their part are folded away until they are asked for.
FIRST = (
    MODEL,
    DATA,
    VALIDATION,
    TEMPLATE,
    PRESET,
    "method.name",
    "method.num_virtual_tokens",
    "method.init",
    OWN_PROMPT,
    "training.max_steps",
    "training.batch_size",
    "training.learning_rate",
    "training.evaluate_every",
    "training.seed",
)
_TITLES = {"model": "model", "data": "data", "method": "prompt", "training": "training"}
_LABELS = {
    MODEL: "model",
    DATA: "data",
    VALIDATION: "validation data",
    PROMPT_FIELD: "input column",
    RESPONSE_FIELD: "answer column",
    "method.name": "method",
    OWN_PROMPT: "earlier prompt",
    "method.num_virtual_tokens": "virtual tokens",
    "model.num_outlier_channels": "outlier channels",
    "training.max_gradient_norm": "gradient norm",
    "training.max_validation_rows": "validation rows",
    "training.num_threads": "threads",
}
_UNSET = {
    "training.learning_rate": "the method's own",
    OWN_PROMPT: "",
    PROMPT_FIELD: "recognised",
    RESPONSE_FIELD: "recognised",
    "method.init_text": "from the labels",
}
_CHOOSERS: dict[str, Chooser] = {
    MODEL: "model",
    DATA: "data",
    VALIDATION: "validation",
    TEMPLATE: "template",
    PROMPT_FIELD: "template",
    RESPONSE_FIELD: "template",
    OWN_PROMPT: "earlier prompt",
}
_PATHS: dict[str, PathKind] = {
    MODEL: "model",
    DATA: "data",
    VALIDATION: "data",
    OWN_PROMPT: "folder",
}


@dataclass(frozen=True)
class Field:
    """One field of the form.

    Attributes:
        name: Dotted name in the configuration.
        label: What stands before it.
        help: What it means.
        default: As text; empty for unset.
        choices: What may be chosen; empty where any text may be written.
        number: `int` or `float` where it is a number.
        unset: What stands beside it where it is left empty.
        chooser: The page that Enter opens to choose its value; None where there is none.
        is_switch: Whether it is true or false, chosen as `ON` or `OFF`.
        path: What is completed in it, where it takes a path.
    """

    name: str
    label: str
    help: str
    default: str
    choices: tuple[str, ...] = ()
    number: type[int] | type[float] | None = None
    unset: str = "automatic"
    chooser: Chooser | None = None
    is_switch: bool = False
    path: PathKind | None = None


@dataclass(frozen=True)
class FieldGroup:
    """Fields that belong together.

    Attributes:
        name: Of the part of the configuration.
        title: What stands above them.
        fields: Those that most runs set, then the others.
        num_first: How many of them are the first ones.
    """

    name: str
    title: str
    fields: tuple[Field, ...]
    num_first: int


_PRESET_FIELD = Field(
    PRESET,
    "preset",
    "fills method, length and steps from the data's size; what you write yourself stays",
    NO_PRESET,
    (NO_PRESET, *get_args(PresetName)),
)


@cache
def builtin_sets() -> tuple[str, ...]:
    """Names of the built-in data sets."""
    folder = Path(ptune_tui.__file__).parent / "builtin_data"
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))


@cache
def field_groups() -> tuple[FieldGroup, ...]:
    """The fields of the form by part, in order."""
    groups = []
    for part, title in _TITLES.items():
        own = [_field_of(name) for name in field_names() if name.startswith(f"{part}.")]
        first = [field for field in own if field.name in FIRST]
        if part == "method":
            first.insert(0, _PRESET_FIELD)
        rest = [field for field in own if field.name not in FIRST]
        first.sort(key=lambda field: FIRST.index(field.name))
        groups.append(FieldGroup(part, title, (*first, *rest), len(first)))
    return tuple(groups)


@cache
def form_fields() -> tuple[Field, ...]:
    """The fields of the form, in order."""
    return tuple(field for group in field_groups() for field in group.fields)


def as_text(value: object) -> str:
    """A value of the configuration as the form holds it."""
    if isinstance(value, bool):
        return ON if value else OFF
    return "" if value is None else str(value)


def is_shown(name: str, texts: Mapping[str, str]) -> bool:
    """Whether a field means anything, as the others stand.

    Args:
        name (str): Its dotted name.
        texts (Mapping[str, str]): The form.
    """
    method, init = texts.get("method.name"), texts.get("method.init")
    kernel = texts.get("model.kernel")
    is_reparametrised = method == "prefix" and texts.get("method.reparametrise") == ON
    means_something = {
        OWN_PROMPT: init == "prompt",
        "method.init_text": init == "text",
        "method.rank": method == "lowrank",
        "method.reparametrise": method == "prefix",
        "method.mlp_size": method in ("residual", "p-tuning") or is_reparametrised,
        "model.num_outlier_channels": kernel in ("auto", "int8"),
        "model.prefix_type": kernel in ("auto", "int8"),
    }
    return means_something.get(name, True)


def known_models() -> list[str]:
    """The default model and those of the cache, as `model.source` takes them."""
    cached = [model.name for model in models.cached_models()]
    return ["default", *(name for name in cached if name != "default")]


def _field_of(name: str) -> Field:
    part, key = name.split(".")
    kind = _types()[part][key]
    return Field(
        name=name,
        label=_LABELS.get(name, key.replace("_", " ")),
        help=kind.extra_json_schema["description"],
        default=as_text(msgspec.to_builtins(RunConfig())[part][key]),
        choices=_choices(kind.type),
        number=_number_type(kind.type),
        unset=_UNSET.get(name, "automatic"),
        chooser=_CHOOSERS.get(name),
        is_switch=isinstance(kind.type, msgspec.inspect.BoolType),
        path=_PATHS.get(name),
    )


def _choices(kind: object) -> tuple[str, ...]:
    if isinstance(kind, msgspec.inspect.BoolType):
        return (OFF, ON)
    return tuple(map(str, kind.values)) if isinstance(kind, msgspec.inspect.LiteralType) else ()


def _number_type(kind: object) -> type[int] | type[float] | None:
    if isinstance(kind, msgspec.inspect.UnionType):
        return next((found for found in map(_number_type, kind.types) if found), None)
    if isinstance(kind, msgspec.inspect.IntType):
        return int
    return float if isinstance(kind, msgspec.inspect.FloatType) else None


def _types() -> dict[str, dict[str, Any]]:
    """What msgspec knows of every field, by part and name."""
    parts: Any = msgspec.inspect.type_info(RunConfig)
    return {
        part.name: {field.name: field.type for field in part.type.fields} for part in parts.fields
    }
