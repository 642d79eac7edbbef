"""How a chat stands, and the line that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from textual.content import Content
from textual.widgets import Static

from ptune_tui.conversation import Ready, Speaker

State = Literal["no bundle", "opening", "ready", "waiting", "failed"]
NOT_YET: dict[State, str] = {
    "no bundle": "No bundle is open.",
    "opening": "The bundle is still being opened.",
    "ready": "The bundle is still being opened.",
    "waiting": "Still answering; Escape ends that.",
    "failed": "The bundle does not answer; above stands why.",
}
WORDS: dict[Speaker, str] = {
    "tuned": "the tuned model answers; Escape ends that and goes on to the base",
    "base": "the base answers; Escape ends that",
}
MAX_LABELS = 6


class ChatStatus(Static):
    """The line.

    Attributes:
        state: How the chat stands.
    """

    def __init__(self) -> None:
        super().__init__("", id="chat-status", markup=False)
        self.state: State = "no bundle"

    @property
    def not_yet(self) -> str:
        """Why a text cannot be sent now."""
        return NOT_YET[self.state]

    def show_none(self) -> None:
        """Say nothing: no bundle is open."""
        self._enter("no bundle", "")

    def show_opening(self, bundle: Path) -> None:
        """Say what is being opened.

        Args:
            bundle (Path): Its folder.
        """
        self._enter("opening", f"opening {bundle}...")

    def show_ready(self, ready: Ready) -> None:
        """Say what is open.

        Args:
            ready (Ready): The child's first word.
        """
        self._enter("ready", ready_text(ready))

    def show_waiting(self, speaker: Speaker) -> None:
        """Say who answers.

        Args:
            speaker (Speaker): That one.
        """
        self._enter("waiting", WORDS[speaker])

    def show_failed(self, why: str) -> None:
        """Say why there are no answers any more.

        Args:
            why (str): A sentence or more.
        """
        self._enter("failed", f"✗ {why}")

    def _enter(self, state: State, text: str) -> None:
        self.state = state
        self.refresh_bindings()  # there may be an answer to copy
        self.set_class(state == "failed", "-failed")
        self.update(Content(text))


def ready_text(ready: Ready) -> str:
    """What is open, in one line.

    Args:
        ready (Ready): The child's first word.
    """
    parts = [ready.model, f"{ready.num_virtual_tokens} virtual tokens"]
    if ready.labels:
        more = (
            f" and {len(ready.labels) - MAX_LABELS} more" if len(ready.labels) > MAX_LABELS else ""
        )
        parts.append(f"answers: {', '.join(ready.labels[:MAX_LABELS])}{more}")
    return " · ".join(parts)
