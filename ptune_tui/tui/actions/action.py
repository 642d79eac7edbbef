"""One row of the table of actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Place = Literal[
    "app",
    "runs",
    "setup",
    "models",
    "data",
    "files",
    "template",
    "rate",
    "train",
    "compare",
    "export",
    "chat",
    "bundles",
]
PAGES_OF_SETUP: tuple[Place, ...] = ("models", "data", "files", "template", "rate")
PAGES_OF_CHAT: tuple[Place, ...] = ("bundles",)


@dataclass(frozen=True)
class Action:
    """One row of the table.

    Attributes:
        id: What a keymap calls it.
        place: Where it can be used.
        key: Its keys, separated by commas.
        action: Name of the method, without `action_`.
        description: One or two words for the footer.
        tooltip: A sentence.
        needs: What is missing where it cannot be used now.
        in_footer: Whether the footer shows it.
    """

    id: str
    place: Place
    key: str
    action: str
    description: str
    tooltip: str
    needs: str = ""
    in_footer: bool = True

    @property
    def title(self) -> str:
        """What the palette calls it."""
        prefix = "" if self.place == "app" else f"{self.place.capitalize()}: "
        return prefix + self.description


def place_of(action: Action) -> str:
    """The place of an action, or of the page that it is on.

    Args:
        action (Action): A row of the table.
    """
    if action.place in PAGES_OF_SETUP:
        return "setup"
    return "chat" if action.place in PAGES_OF_CHAT else action.place
