"""The form's fields, made from the configuration's own fields and their descriptions.

Draws nothing. Every value is held as text until the configuration has checked it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import msgspec

import ptune_tui
from ptune_tui import config, hub, models
from ptune_tui.config import RunConfig
from ptune_tui.errors import UsageError
from ptune_tui.presets import PresetName
from ptune_tui.reading import source

OWN_FILE = "a file of mine"
DATA_FILE = "data.file"  # of the form only: the path that `OWN_FILE` asks for
PRESET = "preset"  # of the form only: it fills other fields
NO_PRESET = "none"
OWN_PROMPT = "method.init_prompt"  # shown where `init` is "prompt"
SHOWN = (
    "model.source",
    "data.train",
    "data.validation",
    "data.template",
    "method.name",
    "method.num_virtual_tokens",
    "method.init",
    OWN_PROMPT,
    "training.max_steps",
    "training.batch_size",
    "training.learning_rate",
    "training.evaluate_every",
    "model.kernel",
    "training.seed",
)
_LABELS = {
    "model.source": "model",
    "data.train": "data",
    "data.validation": "validation data",
    DATA_FILE: "data file",
    "method.name": "method",
    OWN_PROMPT: "earlier prompt",
    "method.num_virtual_tokens": "virtual tokens",
    "training.evaluate_every": "evaluate every",
}
_UNSET = {"training.learning_rate": "the method's own", DATA_FILE: "", OWN_PROMPT: ""}


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
    """

    name: str
    label: str
    help: str
    default: str
    choices: tuple[str, ...] = ()
    number: type[int] | type[float] | None = None
    unset: str = "automatic"


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
def form_fields(names: tuple[str, ...] = SHOWN) -> tuple[Field, ...]:
    """The fields of the form, in order.

    Args:
        names (tuple[str, ...]): Dotted names of the configuration's fields.
    """
    return tuple(field for name in names for field in _fields_of(name))


def as_text(value: object) -> str:
    """A value of the configuration as the form holds it."""
    return "" if value is None else str(value)


def read_form(texts: Mapping[str, str]) -> tuple[RunConfig | None, dict[str, str]]:
    """The configuration of a form, or what is wrong with it.

    Args:
        texts (Mapping[str, str]): The fields' texts by name.

    Returns:
        tuple[RunConfig | None, dict[str, str]]: The configuration where all is well, and a
        sentence for every field that is not.
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in form_fields():
        if field.name == PRESET or field.name not in texts or not is_shown(field.name, texts):
            continue
        try:
            values[field.name] = _checked(field, texts[field.name].strip())
        except UsageError as error:
            problems[field.name] = error.message
    if problems:
        return None, problems
    if is_shown(DATA_FILE, texts):
        values["data.train"] = values[DATA_FILE]
    values.pop(DATA_FILE, None)
    return config.override(RunConfig(), values), {}


def write_form(run_config: RunConfig) -> dict[str, str]:
    """The form's texts for a configuration."""
    raw = msgspec.to_builtins(run_config)
    texts = {field.name: field.default for field in form_fields()}
    for name in SHOWN:
        part, key = name.split(".")
        texts[name] = as_text(raw[part][key])
    if texts["data.train"] not in builtin_sets():
        texts[DATA_FILE], texts["data.train"] = texts["data.train"], OWN_FILE
    return texts


def is_shown(name: str, texts: Mapping[str, str]) -> bool:
    """Whether a field is asked for, as the others stand."""
    if name == DATA_FILE:
        return texts.get("data.train") == OWN_FILE
    return name != OWN_PROMPT or texts.get("method.init") == "prompt"


def _checked(field: Field, text: str) -> object:
    """The value of a text."""
    if text and field.name in ("data.validation", DATA_FILE, OWN_PROMPT):
        text = str(Path(text).expanduser())
    if field.name == OWN_PROMPT and not Path(text or "?").is_dir():
        raise UsageError("Write the folder of a run or of a PEFT adapter.")
    if field.name in ("data.validation", DATA_FILE):
        _check_file(text, is_needed=field.name == DATA_FILE)
    if field.name == "model.source":
        _check_model(text)
    if field.name == DATA_FILE or field.name == "data.train":
        return text
    if not text:
        if field.default:
            raise UsageError(f"Something is needed here; the default is {field.default}.")
        return None
    value = _number(text, field.number) if field.number else text
    try:
        config.override(RunConfig(), {field.name: value})
    except UsageError as error:
        raise UsageError(_plain(error.message)) from None
    return value


def _number(text: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(text)
    except ValueError:
        what = "A whole number" if kind is int else "A number"
        raise UsageError(f"{what} is needed, not `{text}`.") from None


def _check_file(text: str, *, is_needed: bool) -> None:
    if not text and is_needed:
        raise UsageError("Write the path of a data file or folder, or a hub id.")
    if text and not source.is_known(text):
        raise UsageError(f"There is no file {text}.")


def _check_model(text: str) -> None:
    is_known = (
        text in known_models()
        or Path(text).expanduser().exists()
        or (hub.HUB_ID.fullmatch(text) is not None and not text.endswith(".gguf"))
    )
    if text and not is_known:
        raise UsageError(f"There is no model `{text}`: a folder, a GGUF file or a hub id.")


def known_models() -> list[str]:
    """The default model and those of the cache, as `model.source` takes them."""
    cached = [model.name for model in models.cached_models()]
    return ["default", *(name for name in cached if name != "default")]


def _plain(message: str) -> str:
    """A decoder's sentence without the place, which the form shows by itself."""
    sentence = message.removeprefix("the options: ").split(" - at ")[0].replace("`", "")
    return sentence if sentence.endswith(".") else f"{sentence}."


def _fields_of(name: str) -> list[Field]:
    part, key = name.split(".")
    kind = _types()[part][key]
    field = Field(
        name=name,
        label=_LABELS.get(name, key.replace("_", " ")),
        help=kind.extra_json_schema["description"],
        default=as_text(msgspec.to_builtins(RunConfig())[part][key]),
        choices=_choices(name, kind.type),
        number=_number_type(kind.type),
        unset=_UNSET.get(name, "automatic"),
    )
    if name == "data.train":
        return [field, Field(DATA_FILE, _LABELS[DATA_FILE], field.help, "", unset="")]
    return [_PRESET_FIELD, field] if name == "method.name" else [field]


def _choices(name: str, kind: object) -> tuple[str, ...]:
    if name == "data.train":
        return (*builtin_sets(), OWN_FILE)
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
