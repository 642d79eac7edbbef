"""Words that do by a click what a key does."""

from __future__ import annotations

from textual.content import Content


def action_link(action: str, words: str) -> Content:
    """Words that a click on calls an action.

    Args:
        action (str): With its namespace, such as `screen.view`.
        words (str): Taken as they are, brackets and all.
    """
    return Content.from_markup(f"[@click={action}]$words[/]", words=words)
