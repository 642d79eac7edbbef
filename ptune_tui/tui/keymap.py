"""Which keys the actions have: those of the table, or others that the settings name.

Draws nothing. Refused are keys that tmux, ssh or macOS keep to themselves, and keys that another
action of the same place has.
"""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ptune_tui.tui.actions.action import Action
from ptune_tui.tui.bindings import ACTIONS

# Punctuation by the names that the terminal library gives it.
PUNCTUATION = {
    "?": "question_mark",
    "/": "slash",
    "!": "exclamation_mark",
    "#": "number_sign",
    "$": "dollar_sign",
    "%": "percent_sign",
    "&": "ampersand",
    "*": "asterisk",
    "+": "plus",
    "-": "minus",
    ".": "full_stop",
    ":": "colon",
    ";": "semicolon",
    "<": "less_than_sign",
    "=": "equals_sign",
    ">": "greater_than_sign",
    "@": "at",
    "[": "left_square_bracket",
    "]": "right_square_bracket",
    "_": "underscore",
}
NAMED = ("enter", "escape", "space", "backspace")
FUNCTION_KEYS = tuple(f"f{number}" for number in range(1, 13))
# The others are flow or job control, Tab, Enter, Escape, Backspace, or a multiplexer's prefix.
CONTROL_LETTERS = "degklnqrtuwxy"
PORTABLE = frozenset(
    [
        *string.ascii_letters,
        *string.digits,
        *PUNCTUATION.values(),
        *NAMED,
        *FUNCTION_KEYS,
        *(f"ctrl+{letter}" for letter in CONTROL_LETTERS),
    ]
)
PORTABLE_WORDS = (
    "a letter, a digit, a sign, f1 to f12, enter, escape, space, backspace, or ctrl with "
    f"one of {CONTROL_LETTERS}"
)


@dataclass(frozen=True)
class Keymap:
    """The keys in force.

    Attributes:
        changed: Other keys than the table's, by action id, separated by commas.
        problems: Why entries of the settings were refused, a sentence each.
    """

    changed: Mapping[str, str]
    problems: tuple[str, ...]

    def keys(self, action: Action) -> list[str]:
        """An action's keys.

        Args:
            action (Action): A row of the table.
        """
        return self.changed.get(action.id, action.key).split(",")

    def name(self, action_id: str) -> str:
        """An action's first key as people read it.

        Args:
            action_id (str): Of a row of the table.
        """
        action = next(row for row in ACTIONS if row.id == action_id)
        return key_name(self.keys(action)[0])


def make_keymap(asked: Mapping[str, str]) -> Keymap:
    """The keys in force; entries that cannot be are left out, and said.

    Args:
        asked (Mapping[str, str]): Keys by action id, from the settings.
    """
    changed, problems = {}, []
    for action_id, text in asked.items():
        keys = [PUNCTUATION.get(key.strip(), key.strip()) for key in text.split(",")]
        problem = _problem(action_id, keys)
        if problem:
            problems.append(problem)
        else:
            changed[action_id] = ",".join(keys)
    while clash := _clash(changed):
        refused, key, other = clash
        del changed[refused]
        problems.append(f"`{refused}` cannot have the key `{key}`: `{other}` has it.")
    return Keymap(changed, tuple(problems))


def key_name(key: str) -> str:
    """A key as people read it: `^q`, `F1`, `?`, `esc`.

    Args:
        key (str): Its name in the table.
    """
    if key.startswith("ctrl+"):
        return f"^{key[5:]}"
    signs = {name: sign for sign, name in PUNCTUATION.items()}
    return {**signs, "escape": "esc", "enter": "Enter", "space": "Space", "backspace": "⌫"}.get(
        key, key.upper() if len(key) > 1 else key
    )


def share_a_place(one: Action, other: Action) -> bool:
    """Whether both actions can be called at the same time.

    Args:
        one (Action): A row of the table.
        other (Action): Another one.
    """
    return "app" in (one.place, other.place) or one.place == other.place


def keys_document() -> str:
    """All actions with their ids and keys, as a document."""
    lines = [
        "# Keys",
        "",
        "Written by `python bench/keys.py docs/keys.md` from the table that the app itself uses.",
        "In the app, F1 shows the keys of a place, and ^p finds every action by its name.",
        "",
        "Other keys go into the settings file (`ptune doctor` prints its path), by these ids:",
        "",
        "```toml",
        "[keys]",
        '"train.stop" = "S"',
        '"app.help" = "f1,?"',
        "```",
        "",
        f"A key is {PORTABLE_WORDS}:",
        "those that pass through tmux, ssh and the terminals of macOS. An id that there is not,",
        "another key, or a key that another action of the same place has is refused with a",
        "sentence when the app opens, and by `ptune doctor`; the other entries hold.",
        "Keys of questions (leaving, deleting) stand on their buttons and stay as they are.",
    ]
    for place in dict.fromkeys(row.place for row in ACTIONS):
        title = "Everywhere" if place == "app" else place.capitalize()
        lines += ["", f"## {title}", "", "| id | keys | does |", "|---|---|---|"]
        lines += [_document_row(row) for row in ACTIONS if row.place == place]
    return "\n".join([*lines, ""])


def _document_row(row: Action) -> str:
    keys = ", ".join(f"`{key_name(key)}`" for key in row.key.split(","))
    return f"| `{row.id}` | {keys} | {row.tooltip} |"


def _problem(action_id: str, keys: Iterable[str]) -> str:
    """Why an entry cannot be, for itself; empty where it can."""
    ids = [row.id for row in ACTIONS]
    if action_id not in ids:
        near = difflib.get_close_matches(action_id, ids, n=1)
        more = f"did you mean `{near[0]}`?" if near else "docs/keys.md lists them."
        return f"There is no action `{action_id}` to give a key; {more}"
    wrong = [key for key in keys if key not in PORTABLE]
    if wrong:
        return f"`{action_id}` cannot have the key `{wrong[0]}`. A key is {PORTABLE_WORDS}."
    return ""


def _clash(changed: Mapping[str, str]) -> tuple[str, str, str] | None:
    """An entry whose key another action has: its id, the key, the other's id."""
    keys = {row.id: set(changed.get(row.id, row.key).split(",")) for row in ACTIONS}
    for row in ACTIONS:
        if row.id not in changed:
            continue
        for other in ACTIONS:
            shared = keys[row.id] & keys[other.id]
            if shared and other.id != row.id and share_a_place(row, other):
                return row.id, min(shared), other.id
    return None
