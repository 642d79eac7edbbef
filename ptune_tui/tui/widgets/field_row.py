"""One field of the form: label, input, default, and below them its help and its error."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Button, Input, Label, Select, Static

from ptune_tui.tui.fields import Field
from ptune_tui.tui.path_completion import OFFERED, listed
from ptune_tui.tui.widgets.path_input import PathInput

UP_AND_DOWN: list[BindingType] = [
    Binding("down", "app.focus_next", "Next field", show=False),
    Binding("up", "app.focus_previous", "Previous field", show=False),
]


class Form(VerticalScroll, can_focus=False, inherit_bindings=False):
    """The fields, one below the other; up and down walk through them."""

    BINDINGS: ClassVar[list[BindingType]] = UP_AND_DOWN


class Choice(Select[str], inherit_bindings=False):
    """A choice that leaves up and down to the form while it is closed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "show_overlay", "Choose", show=False)
    ]


class ChooseButton(Button, can_focus=False):
    """Opens the page of a field by mouse; Enter in the field does the same."""


class FieldRow(Vertical):
    """A field with its words. It holds its text, whether it is on the screen or not.

    Args:
        field (Field): Which.
        text (str): Its first value.
        names (list[str]): What may stand in the place of a path.
    """

    class Changed(Message):
        """The field holds another text."""

    class ChooseAsked(Message):
        """The page that the field's value is chosen on is wanted."""

        def __init__(self, row: FieldRow) -> None:
            super().__init__()
            self.row = row

    def __init__(self, field: Field, text: str, names: list[str] | None = None) -> None:
        super().__init__(id=row_id(field.name), classes="field")
        self.field = field
        self._text = text
        self._problem = ""
        self._filled = (field.default, "default")
        self._names = names or []
        self._is_composed = False

    def compose(self) -> ComposeResult:
        """Label, input and default in one line; help and error below."""
        with Horizontal(classes="field-line"):
            yield Label(self.field.label, classes="field-label")
            yield self._input()
            if self.field.chooser:
                yield ChooseButton("…", compact=True, tooltip="Choose; Enter in the field does it.")
            yield Label("", classes="field-default")
        yield Static(self._help(), classes="field-help", markup=False)
        yield Static("", classes="field-error", markup=False)

    def on_mount(self) -> None:
        """Show the default."""
        self._is_composed = True
        self.text = self._text  # it may have been set since the box was made
        self._show_default()
        self._show_problem()

    def on_descendant_focus(self) -> None:
        """Show the help while one writes."""
        self.add_class("-focused")
        self._show_whole()

    def on_descendant_blur(self) -> None:
        """Hide the help where room is short."""
        self.remove_class("-focused")
        self._show_help(self._help())

    @property
    def text(self) -> str:
        """What the field holds."""
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        self._text = text
        if not self._is_composed:
            return
        if self.field.choices:
            self.query_one(Choice).value = text
        else:
            self.query_one(Input).value = text

    @property
    def is_default(self) -> bool:
        """Whether it holds what it holds by itself."""
        return self._text == self.field.default

    def focus_input(self) -> None:
        """Write here."""
        self.query_one(Choice if self.field.choices else Input).focus()

    def show_choices(self, choices: list[str]) -> None:
        """Offer other choices; the first one is taken.

        Args:
            choices (list[str]): At least one.
        """
        self.query_one(Choice).set_options([(choice, choice) for choice in choices])
        self._text = choices[0]

    def show_filled(self, text: str, word: str) -> None:
        """Say what stands in the field unless the user writes something else.

        Args:
            text (str): That text.
            word (str): Where it comes from.
        """
        self._filled = (text, word)
        self._show_default()

    def show_problem(self, problem: str) -> None:
        """Show what is wrong; nothing where all is well."""
        if problem != self._problem:
            self._problem = problem
            self._show_problem()

    def _show_problem(self) -> None:
        self.set_class(bool(self._problem), "-wrong")
        if not self._is_composed:
            return
        words = f"✗ {self._problem}" if self._problem else ""
        self.query_one(".field-error", Static).update(words)

    def on_resize(self) -> None:
        """Help or error have come: let them be seen, too."""
        if self.has_class("-focused"):
            self._show_whole()

    def _show_whole(self) -> None:
        """Scroll so far that help and error are seen, too, once they have their room."""
        self.call_after_refresh(self.scroll_visible, animate=False)

    @on(Input.Changed)
    @on(Select.Changed)
    def _changed(self, event: Input.Changed | Select.Changed) -> None:
        event.stop()
        # What it holds now: an event may be older than what was written since.
        box = self.query_one(Choice) if self.field.choices else self.query_one(Input)
        self._text = str(box.value)
        self._show_default()
        self.post_message(self.Changed())

    @on(Input.Submitted)
    @on(Button.Pressed)
    def _choose(self, event: Input.Submitted | Button.Pressed) -> None:
        event.stop()
        if self.field.chooser:
            self.post_message(self.ChooseAsked(self))

    @on(PathInput.Completed)
    def _show_candidates(self, event: PathInput.Completed) -> None:
        """What a path may become stands where the help does."""
        event.stop()
        names = event.completion.candidates
        width = self.query_one(".field-help").content_size.width
        self._show_help(listed(names, width) if len(names) > 1 else self._help())

    def _help(self) -> str:
        return f"{self.field.help}; Enter chooses" if self.field.chooser else self.field.help

    def _show_help(self, words: str) -> None:
        self.query_one(".field-help", Static).update(words)

    def _show_default(self) -> None:
        if not self._is_composed:
            return
        text, word = self._filled
        is_filled = self._text == text
        # The default model is called `default`.
        words = word if is_filled else "changed" if text in ("", word) else f"{word} {text}"
        if not text and is_filled:
            words = self.field.unset
        self.query_one(".field-default", Label).update(words)

    def _input(self) -> Input | Choice:
        if self.field.choices:
            options = [(choice, choice) for choice in self.field.choices]
            return Choice(options, value=self._text, allow_blank=False, compact=True)
        if self.field.path is not None:
            return PathInput(self._text, OFFERED[self.field.path], self._names)
        box = Input(self._text, compact=True)
        box.cursor_blink = False
        return box


def row_id(name: str) -> str:
    """The widget id of a field."""
    return "field-" + name.replace(".", "-").replace("_", "-")
