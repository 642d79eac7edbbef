"""The modal screens: leaving while work goes on, deleting a run, and the help."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from ptune_tui.tui.bindings import ACTIONS, Action, Place
from ptune_tui.tui.session import Work

Leave = Literal["save", "discard", "background"]


class LeaveScreen(ModalScreen[Leave | None]):
    """Asks what becomes of the work that goes on.

    Args:
        work (Work): What goes on; only a training can be saved half-way.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "leave('save')", "Stop and save", show=False),
        Binding("d", "leave('discard')", "Discard", show=False),
        Binding("k", "leave('background')", "Keep running", show=False),
        Binding("escape", "leave('')", "Stay", show=False),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work

    def compose(self) -> ComposeResult:
        """One button a choice."""
        with Vertical(classes="question"):
            yield Static(f"The {self.work} still goes on.", classes="question-title")
            if self.work == "training":
                yield Button(
                    "s  Stop and save: keep the best prompt so far", id="save", compact=True
                )
            yield Button("k  Keep running in the background", id="background", compact=True)
            yield Button("d  Discard: end it now", id="discard", compact=True)
            yield Static("Escape stays here.", classes="question-note")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only a training can be saved."""
        if parameters == ("save",) and self.work != "training":
            return False
        return super().check_action(action, parameters)

    def action_leave(self, choice: str) -> None:
        """Answer."""
        answers: dict[str, Leave] = {
            "save": "save",
            "discard": "discard",
            "background": "background",
        }
        self.dismiss(answers.get(choice))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_leave(event.button.id or "")


class DeleteScreen(ModalScreen[bool]):
    """Asks whether a run is really to be deleted.

    Args:
        name (str): The run's.
        what (str): What goes with it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Delete", show=False),
        Binding("n,escape", "answer(False)", "Keep", show=False),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]
    AUTO_FOCUS = "#keep"

    def __init__(self, name: str, what: str) -> None:
        super().__init__()
        self.run_name = name
        self.what = what

    def compose(self) -> ComposeResult:
        """What is deleted, and the two answers."""
        with Vertical(classes="question"):
            yield Static(f"Delete {self.run_name}?", classes="question-title", markup=False)
            yield Static(self.what, markup=False)
            yield Button("n  Keep it", id="keep", compact=True)
            yield Button("y  Delete it; it cannot be brought back", id="delete", compact=True)
            yield Static("Escape keeps it.", classes="question-note")

    def action_answer(self, is_yes: bool) -> None:
        """Answer."""
        self.dismiss(is_yes)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "delete")


class HelpScreen(ModalScreen[None]):
    """Every key that holds in a place.

    Args:
        place (Place): Which.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,question_mark,q,enter", "dismiss", "Close", show=False)
    ]

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    def compose(self) -> ComposeResult:
        """The keys, those of the place first."""
        with VerticalScroll(classes="question", id="help"):
            yield Static(help_text(self.place))

    def on_mount(self) -> None:
        """Name the box."""
        self.query_one("#help").border_title = f"keys of {self.place}"
        self.query_one("#help").border_subtitle = "Escape closes"


def help_text(place: Place) -> Content:
    """The keys of a place and of the app, with their sentences.

    Args:
        place (Place): Which.
    """
    own = [_line(row) for row in ACTIONS if row.place == place]
    everywhere = [_line(row) for row in ACTIONS if row.place == "app"]
    more = [
        Content.assemble((f"{'^p':<8}", "bold"), "Every action by its name."),
        Content.assemble((f"{'tab':<8}", "bold"), "The next field; shift+tab the one before."),
    ]
    return Content("\n").join([*own, Content(""), *everywhere, *more])


def _line(row: Action) -> Content:
    names = [_key_name(key) for key in row.key.split(",")]
    return Content.assemble((f"{' '.join(names):<8}", "bold"), row.tooltip)


def _key_name(key: str) -> str:
    if key.startswith("ctrl+"):
        return f"^{key[5:]}"
    return {"question_mark": "?", "escape": "esc"}.get(key, key.upper() if len(key) > 1 else key)
