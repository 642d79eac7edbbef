"""The modal screens: leaving while work goes on, deleting a run, and the help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from textwrap import fill
from typing import ClassVar, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from ptune_tui.tui.actions.action import Action, Place
from ptune_tui.tui.bindings import ACTIONS
from ptune_tui.tui.focus_help import FocusHelp
from ptune_tui.tui.keymap import Keymap, key_name
from ptune_tui.tui.session import Work

Leave = Literal["save", "end", "background"]

_KEY_WIDTH, _WIDTH = 8, 62  # of the help's two columns


class LeaveScreen(ModalScreen[Leave | None]):
    """Asks what becomes of the work that goes on.

    Args:
        work (Sequence[Work]): All that goes on; only a training can be saved half-way, and a range
            test cannot be left running.
        is_paused (bool): Whether the training waits.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "leave('save')", "Stop and save", show=False),
        Binding("d", "leave('end')", "End it", show=False),
        Binding("k", "leave('background')", "Keep running", show=False),
        Binding("escape", "leave('')", "Stay", show=False),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, work: Sequence[Work], *, is_paused: bool) -> None:
        super().__init__()
        self.work = work
        self.is_paused = is_paused

    def compose(self) -> ComposeResult:
        """One button a choice."""
        with Vertical(classes="question"):
            has_others = len(self.work) > 1
            yield Static(work_words(self.work, self.is_paused), classes="question-title")
            if "training" in self.work:
                what = (
                    "the best prompt; the rest goes on" if has_others else "the best prompt so far"
                )
                yield Button(f"s  Stop and save: keep {what}", id="save", compact=True)
            if self._can_be_left:
                yield Button(_keep_words(self.work, self.is_paused), id="background", compact=True)
            yield Button(_end_words(self.work), id="end", compact=True)
            yield Static("Escape stays here.", classes="question-note")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only a training can be saved, and a range test not be left."""
        if parameters == ("save",) and "training" not in self.work:
            return False
        if parameters == ("background",) and not self._can_be_left:
            return False
        return super().check_action(action, parameters)

    @property
    def _can_be_left(self) -> bool:
        """Whether anything of it goes on without the app."""
        return any(each != "range test" for each in self.work)

    def action_leave(self, choice: str) -> None:
        """Answer."""
        answers: dict[str, Leave] = {
            "save": "save",
            "end": "end",
            "background": "background",
        }
        self.dismiss(answers.get(choice))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_leave(event.button.id or "")


def work_words(work: Sequence[Work], is_paused: bool) -> str:
    """All that goes on, in a sentence or two.

    Args:
        work (Sequence[Work]): At least one.
        is_paused (bool): Whether the training waits.
    """
    going = [f"the {each}" for each in work if each != "training" or not is_paused]
    sentences = ["The training is paused."] if is_paused else []
    if going:
        verb = "goes" if len(going) == 1 else "go"
        listed = " and ".join([", ".join(going[:-1]), going[-1]] if going[1:] else going)
        sentences.append(f"{listed[0].upper()}{listed[1:]} still {verb} on.")
    return " ".join(sentences)


def _keep_words(work: Sequence[Work], is_paused: bool) -> str:
    if "range test" in work:
        return "k  End the range test alone; the rest stays as it is"
    if is_paused and len(work) > 1:
        return "k  Leave it paused, and keep the rest running"
    return "k  Leave it paused" if is_paused else "k  Keep running in the background"


def _end_words(work: Sequence[Work]) -> str:
    """What ends at once, and what is there of a training afterwards."""
    what = "all of it" if len(work) > 1 else "it"
    kept = "; what was saved stays in Runs" if "training" in work else ""
    return f"d  End {what} now{kept}"


class DeleteScreen(ModalScreen[bool]):
    """Asks whether a run is really to be deleted.

    Args:
        name (str): The run's.
        known (str): What goes with it, as far as that is known.
        what (Callable[[], str]): Reads what goes with it; called in a thread.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Delete", show=False),
        Binding("n,escape", "answer(False)", "Keep", show=False),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]
    AUTO_FOCUS = "#keep"

    def __init__(self, name: str, known: str, what: Callable[[], str]) -> None:
        super().__init__()
        self.run_name = name
        self._known = known
        self._what = what

    def compose(self) -> ComposeResult:
        """What is deleted, and the two answers."""
        with Vertical(classes="question"):
            yield Static(f"Delete {self.run_name}?", classes="question-title", markup=False)
            yield Static(self._known, id="belongings", markup=False)
            yield Button("n  Keep it", id="keep", compact=True)
            yield Button("y  Delete it; it cannot be brought back", id="delete", compact=True)
            yield Static("Escape keeps it.", classes="question-note")

    def on_mount(self) -> None:
        """Say all that goes with it: `d` may come before the place has read the run."""
        self._read()

    @work
    async def _read(self) -> None:
        what = await asyncio.to_thread(self._what)
        for text in self.query("#belongings").results(Static):  # none while the question goes away
            text.update(what)

    def action_answer(self, is_yes: bool) -> None:
        """Answer."""
        self.dismiss(is_yes)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "delete")


class HelpScreen(ModalScreen[None]):
    """What has the focus, and every key that holds in a place.

    Args:
        place (Place): Which.
        keymap (Keymap): The keys in force.
        focused (FocusHelp | None): Of what has the focus.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,question_mark,q,enter", "dismiss", "Close", show=False)
    ]

    def __init__(self, place: Place, keymap: Keymap, focused: FocusHelp | None) -> None:
        super().__init__()
        self.place = place
        self.keymap = keymap
        self.focused_help = focused

    def compose(self) -> ComposeResult:
        """What has the focus, then the keys, those of the place first."""
        with VerticalScroll(classes="question", id="help"):
            yield Static(help_text(self.place, self.keymap, self.focused_help))

    def on_mount(self) -> None:
        """Name the box."""
        self.query_one("#help").border_title = f"keys of {self.place}"
        self.query_one("#help").border_subtitle = "Escape closes"


def help_text(place: Place, keymap: Keymap, focused: FocusHelp | None) -> Content:
    """Help for what has the focus; the keys of a place and of the app, with their sentences.

    Args:
        place (Place): Which.
        keymap (Keymap): The keys in force.
        focused (FocusHelp | None): Of what has the focus.
    """
    lines = []
    if focused is not None:
        lines = [
            Content.styled(f"{focused.title[:1].upper()}{focused.title[1:]}", "bold underline")
        ]
        lines += [Content(fill(line, _KEY_WIDTH + _WIDTH)) for line in focused.lines]
        lines.append(Content(""))
    own = [_line(row, keymap) for row in ACTIONS if row.place == place]
    everywhere = [_line(row, keymap) for row in ACTIONS if row.place == "app"]
    more = [
        _entry("^p", "Every action by its name."),
        _entry("tab", "The next field, or the rest of a path; shift+tab the field before."),
    ]
    return Content("\n").join([*lines, *own, Content(""), *everywhere, *more])


def _line(row: Action, keymap: Keymap) -> Content:
    return _entry(" ".join(key_name(key) for key in keymap.keys(row)), row.tooltip)


def _entry(keys: str, words: str) -> Content:
    """Keys, and beside them what they do, in as many lines as that takes."""
    text = fill(words, _WIDTH).replace("\n", "\n" + " " * _KEY_WIDTH)
    return Content.assemble((f"{keys:<{_KEY_WIDTH}}", "bold"), text)
