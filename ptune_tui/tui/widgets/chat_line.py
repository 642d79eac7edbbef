"""Which prompt of a bundle answers, and in which of its precisions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Label, Select

from ptune_tui.bundles import BundleCard
from ptune_tui.tui.widgets.field_row import Choice

NOT_READ = "..."  # while no bundle is open

What = Literal["prompt", "precision"]


@dataclass(frozen=True)
class ChatTarget:
    """What answers.

    Attributes:
        bundle: The bundle's folder.
        prompt: Which of its prompts; None where it cannot be read.
        precision: Which of its precisions; None where it cannot be read.
        version: Another number where the folder may hold another bundle than before.
    """

    bundle: Path
    prompt: str | None
    precision: str | None
    version: int


class ChatLine(Horizontal):
    """The two choices.

    Attributes:
        prompts: The bundle's.
        precisions: Those that it has a graph of.
    """

    class Chosen(Message):
        """Something else is to answer.

        Args:
            target (ChatTarget): That.
        """

        def __init__(self, target: ChatTarget) -> None:
            super().__init__()
            self.target = target

    def __init__(self) -> None:
        super().__init__(id="chat-line")
        self.prompts: list[str] = []
        self.precisions: list[str] = []
        self._target: ChatTarget | None = None

    def compose(self) -> ComposeResult:
        """A label and a choice each."""
        for name in ("prompt", "precision"):
            yield Label(name)
            yield Choice(
                [(NOT_READ, NOT_READ)],
                value=NOT_READ,
                allow_blank=False,
                compact=True,
                id=f"chat-{name}",
            )

    def show(
        self, bundle: Path, card: BundleCard | None, prompt: str | None, version: int
    ) -> ChatTarget:
        """Offer what a bundle has; returns what answers first, in the bundle's own precision.

        Args:
            bundle (Path): Its folder.
            card (BundleCard | None): What it has; None where it cannot be read.
            prompt (str | None): The prompt that is to answer, if the bundle has it.
            version (int): Another number where the folder may hold another bundle than before.
        """
        self.prompts = list(card.prompts) if card else []
        self.precisions = list(card.graphs) if card else []
        chosen = prompt if prompt in self.prompts else next(iter(self.prompts), None)
        precision = card.default_precision if card else None
        self._target = ChatTarget(bundle, chosen, precision, version)
        self._fill("prompt", self.prompts, chosen)
        self._fill("precision", self.precisions, precision)
        return self._target

    def choose_next(self, what: What) -> None:
        """Take the next prompt or precision; the first one behind the last.

        Args:
            what (What): Which of the two.
        """
        choices = self.prompts if what == "prompt" else self.precisions
        box = self.query_one(f"#chat-{what}", Choice)
        if box.value in choices:
            box.value = choices[(choices.index(str(box.value)) + 1) % len(choices)]

    @on(Select.Changed)
    def _changed(self, event: Select.Changed) -> None:
        event.stop()
        target = self._target
        prompt = str(self.query_one("#chat-prompt", Choice).value)
        precision = str(self.query_one("#chat-precision", Choice).value)
        if target is None or prompt not in self.prompts or precision not in self.precisions:
            return
        chosen = ChatTarget(target.bundle, prompt, precision, target.version)
        if chosen != target:
            self._target = chosen
            self.post_message(self.Chosen(chosen))

    def _fill(self, what: What, choices: list[str], chosen: str | None) -> None:
        box = self.query_one(f"#chat-{what}", Choice)
        with self.prevent(Select.Changed):
            box.set_options([(choice, choice) for choice in choices or [NOT_READ]])
            box.value = chosen or NOT_READ
        box.disabled = len(choices) < 2
