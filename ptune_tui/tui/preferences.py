"""What the settings come to: colours, charts and keys that hold, and what is said of the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ptune_tui.settings import Charts, read_settings
from ptune_tui.tui.keymap import Keymap, make_keymap
from ptune_tui.tui.themes import DEFAULT_THEME


@dataclass(frozen=True)
class Preferences:
    """How the app is to look, and which keys it takes.

    Attributes:
        theme: The colours' name.
        charts: What curves are drawn with.
        keymap: The keys in force.
        problems: What in the settings does not hold, a sentence each.
    """

    theme: str
    charts: Charts
    keymap: Keymap
    problems: list[str]


def read_preferences(themes: Iterable[str]) -> Preferences:
    """Read the settings, and put defaults in the place of what does not hold.

    Args:
        themes (Iterable[str]): The names of all themes.
    """
    read = read_settings()
    keymap = make_keymap(read.settings.keys)
    problems = [read.problem] if read.problem else []
    problems += keymap.problems
    theme = read.settings.theme or DEFAULT_THEME
    if theme not in themes:
        problems.append(f"There is no theme `{theme}`; there are {', '.join(sorted(themes))}.")
        theme = DEFAULT_THEME
    return Preferences(theme, read.settings.charts, keymap, problems)
