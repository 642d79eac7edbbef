"""Which lines are compared: a box to tick for each."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, get_args

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Label, Static

from ptune_tui.lineup import LinePrecision
from ptune_tui.tui.compare_choice import KEYS
from ptune_tui.tui.widgets.steady import Steady

_WORDS = {"few_shot": "few-shot", "lora": "LoRA"}


class Tick(Static, can_focus=True):
    """A box with a word; Enter, space and a click tick it.

    Args:
        name (str): What it stands for.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "tick", "Tick", show=False)]

    class Changed(Message):
        """It is ticked, or no more."""

    value = reactive(False)

    def __init__(self, name: str) -> None:
        super().__init__(name=name, id=f"tick-{name}", markup=False)

    def render(self) -> str:
        """The box and the word."""
        word = _WORDS.get(self.name or "", self.name or "")
        return f"[{'x' if self.value else ' '}] {word}"

    def action_tick(self) -> None:
        """Tick it, or take the tick away."""
        self.value = not self.value

    def on_click(self) -> None:
        """The same for the mouse."""
        self.action_tick()

    def watch_value(self) -> None:
        """Say so."""
        self.post_message(self.Changed())


class LineChoice(Vertical):
    """The boxes: what torch computes, and the bundle in each of its precisions."""

    class Changed(Message):
        """Another box is ticked."""

    def __init__(self) -> None:
        super().__init__(id="line-choice", classes="field")

    def compose(self) -> ComposeResult:
        """Lines of boxes, how long LoRA takes, and what is wrong with them."""
        for number, label in enumerate(("lines", "")):
            with Horizontal(classes="field-line"):
                yield Label(label, classes="field-label")
                yield from map(Tick, KEYS[2 * number : 2 * number + 2])
        with Horizontal(classes="field-line", id="lora-line"):
            yield Label("", classes="field-label")
            yield Tick("lora")
            yield Steady("", id="lora-note")
        with Horizontal(classes="field-line", id="bundle-lines"):
            yield Label("of the bundle", classes="field-label")
            yield from map(Tick, get_args(LinePrecision))
        yield Static("", classes="field-error", markup=False)

    @property
    def ticked(self) -> set[str]:
        """Names of the boxes that are ticked and shown."""
        return {tick.name or "" for tick in self.query(Tick) if tick.value and tick.display}

    def tick(self, names: Collection[str]) -> None:
        """Tick some boxes and no others.

        Args:
            names (Collection[str]): Keys and precisions.
        """
        with self.prevent(Tick.Changed):
            for tick in self.query(Tick):
                tick.value = tick.name in names

    def offer(self, names: Collection[str], note: str) -> None:
        """Show only what can be had.

        Args:
            names (Collection[str]): Keys and precisions.
            note (str): How long LoRA takes.
        """
        for tick in self.query(Tick):
            tick.display = tick.name in names
        self.query_one("#lora-line").display = "lora" in names
        self.query_one("#lora-note", Steady).show_text(note)
        self.query_one("#bundle-lines").display = bool(set(names) & set(get_args(LinePrecision)))

    def show_problem(self, problem: str) -> None:
        """Show what is wrong; nothing where all is well."""
        self.set_class(bool(problem), "-wrong")
        self.query_one(".field-error", Static).update(f"✗ {problem}" if problem else "")

    @on(Tick.Changed)
    def _changed(self, event: Tick.Changed) -> None:
        event.stop()
        self.post_message(self.Changed())
