"""The form's texts as a configuration, each checked, and back. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ptune_tui import config, hub
from ptune_tui.command_line import read_template, written_template
from ptune_tui.config import RunConfig, field_names
from ptune_tui.errors import PTuneError, UsageError
from ptune_tui.reading import source
from ptune_tui.reading.column_template import ColumnTemplate, is_jinja, taken_apart
from ptune_tui.tui.fields import (
    DATA,
    MODEL,
    ON,
    OWN_PROMPT,
    PRESET,
    TEMPLATE,
    VALIDATION,
    Field,
    as_text,
    builtin_sets,
    form_fields,
    is_shown,
    known_models,
)
from ptune_tui.tui.written_path import path_problems

CHAT = "chat"  # the template that stands for the model's own


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
            values[field.name] = checked(field, texts[field.name])
        except PTuneError as error:
            problems[field.name] = error.message
    if problems:
        return None, problems
    return config.override(RunConfig(), values), {}


def write_form(run_config: RunConfig) -> dict[str, str]:
    """The form's texts for a configuration."""
    raw = msgspec.to_builtins(run_config)
    texts = {field.name: field.default for field in form_fields()}
    for name in field_names():
        part, key = name.split(".")
        texts[name] = as_text(raw[part][key])
    texts[TEMPLATE] = written_template(texts[TEMPLATE])
    return texts


def checked(field: Field, text: str) -> object:
    """The value of a field's text; None for unset.

    Args:
        field (Field): Which.
        text (str): What stands in it.

    Raises:
        PTuneError: It cannot be used; the message says why.
    """
    if field.name == TEMPLATE:
        return _template(text)
    if field.name != "method.init_text":
        text = text.strip()
    text = _checked_path(field, text)
    if not text:
        if field.default:
            raise UsageError(f"Something is needed here; the default is {field.default}.")
        return None
    return _converted(field, text)


def _checked_path(field: Field, text: str) -> str:
    """The text without `~`, where it stands for a path; refused where nothing can be there."""
    if field.name == MODEL:
        check_model(text)
    if field.name not in (DATA, VALIDATION, OWN_PROMPT):
        return text
    with path_problems():
        text = str(Path(text).expanduser()) if text else text
        if field.name == OWN_PROMPT:
            if not Path(text or "?").is_dir():
                raise UsageError(
                    "Write the folder of a run or of a PEFT adapter; Enter looks for one."
                )
        elif text not in builtin_sets() if field.name == DATA else text:
            _check_data(text)
    return text


def _converted(field: Field, text: str) -> object:
    value: object = text
    if field.number:
        value = _number(text, field.number)
    elif field.is_switch:
        value = text == ON
    try:
        config.override(RunConfig(), {field.name: value})
    except UsageError as error:
        raise UsageError(_plain(error.message)) from None
    return value


def check_model(text: str) -> None:
    """Refuse what cannot be a model.

    Args:
        text (str): As a user writes it.

    Raises:
        UsageError: It is neither a path that is there, nor a known name, nor a hub id.
    """
    with path_problems():
        is_known = (
            text in known_models()
            or Path(text).expanduser().exists()
            or (hub.HUB_ID.fullmatch(text) is not None and not text.endswith(".gguf"))
        )
    if text and not is_known:
        raise UsageError(f"There is no model `{text}`: a folder, a GGUF file or a hub id.")


def _check_data(text: str) -> None:
    if not text:
        raise UsageError("Write the path of a data file or folder, or a hub id; Enter shows some.")
    if not source.is_known(text):
        raise UsageError(f"There is no file {text}.")


def _template(text: str) -> str | None:
    """A template as it is written in one line; what is wrong with it is told before a worker is."""
    if not text.strip():
        return None
    template = read_template(text)
    if template == CHAT:
        return template
    if is_jinja(template):
        ColumnTemplate(taken_apart(template)[1])
        return template
    if template.count("{prompt}") != 1:
        raise UsageError(
            f"It needs {{prompt}} exactly once, or columns such as {{{{ text }}}}, or is `{CHAT}`."
        )
    return template


def _number(text: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(text)
    except ValueError:
        what = "A whole number" if kind is int else "A number"
        raise UsageError(f"{what} is needed, not `{text}`.") from None


def _plain(message: str) -> str:
    """A decoder's sentence without the place, which the form shows by itself."""
    sentence = message.removeprefix("the options: ").split(" - at ")[0].replace("`", "")
    return sentence if sentence.endswith(".") else f"{sentence}."
