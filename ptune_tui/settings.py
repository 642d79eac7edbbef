"""The app's settings: one TOML file that a person may write, and the app changes line by line.

Decoded strictly: a name that nothing reads, or a value of another kind, is an error with its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from ptune_tui.errors import DataError
from ptune_tui.paths import settings_file

Charts = Literal["braille", "blocks"]
_VALUE = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""  # a text on one line, in either quotes
Remembered = Literal["theme", "charts"]  # what the app itself writes


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file may hold.

    Attributes:
        theme: The colours' name; empty for those that the app comes with.
        charts: What curves are drawn with: dots of braille, or blocks where a font or a screen
            reader has no braille.
        keys: Other keys of actions, by the ids of `docs/keys.md`; several keys stand with commas.
    """

    theme: str = ""
    charts: Charts = "braille"
    keys: dict[str, str] = {}


@dataclass(frozen=True)
class SettingsRead:
    """The settings, and why they are the defaults where the file could not be read."""

    settings: Settings
    problem: str = ""


def read_settings(path: Path | None = None) -> SettingsRead:
    """Read the settings; without a file they are the defaults.

    Args:
        path (Path | None): The file; None for the one of this user.
    """
    path = path or settings_file()
    try:
        return SettingsRead(_decoded(path.read_bytes()))
    except FileNotFoundError:
        return SettingsRead(Settings())
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        problem = f"The settings in {path} are not read: {error}."
        return SettingsRead(Settings(), problem)


def remember(name: Remembered, value: str, path: Path | None = None) -> None:
    """Write one setting; every other line of the file stays as it is.

    Args:
        name (Remembered): Which.
        value (str): Its value.
        path (Path | None): The file; None for the one of this user.

    Raises:
        DataError: The file is broken, or no line of it can be changed; it is left alone.
        OSError: It cannot be written.
    """
    path = path or settings_file()
    read = read_settings(path)
    if read.problem:
        raise DataError(f"{name} = {value} is not remembered. {read.problem}", "Mend the file.")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    from ptune_tui.tasks import write_atomically  # the app's first frame needs none of it

    changed = _with_line(text, name, value)
    if not _holds(changed, msgspec.structs.replace(read.settings, **{name: value})):
        raise DataError(
            f"{name} = {value} is not remembered: {path} is written in a way that no line can be "
            "changed in.",
            f'Write `{name} = "{value}"` into it, above its tables.',
        )
    write_atomically(path, changed.encode())


def _decoded(content: bytes) -> Settings:
    return msgspec.toml.decode(content, type=Settings)


def _holds(text: str, settings: Settings) -> bool:
    try:
        return _decoded(text.encode()) == settings
    except msgspec.DecodeError:
        return False


def _with_line(text: str, name: str, value: str) -> str:
    """The text with `name = "value"` in front of its tables."""
    line = f'{name} = "{value}"'
    head, table, rest = _parts(text)
    before = rf"""(?m)^[ \t]*(?:{name}|"{name}"|'{name}')[ \t]*=[ \t]*{_VALUE}"""
    changed, count = re.subn(before, lambda _: line, head, count=1)
    if not count:
        changed = f"{head}{'' if not head or head.endswith(chr(10)) else chr(10)}{line}\n"
        changed += "\n" if table else ""
    return f"{changed}{table}{rest}"


def _parts(text: str) -> tuple[str, str, str]:
    """What stands before the first table, its bracket, and the rest."""
    found = re.search(r"(?m)^[ \t]*\[", text)
    if found is None:
        return text, "", ""
    return text[: found.start()], found.group(), text[found.end() :]
