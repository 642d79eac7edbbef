"""What the places share: the bar on top, the footer, the sentence for tiny terminals."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from ptune_tui.tui.bindings import ACTIONS
from ptune_tui.tui.widgets.place_footer import PlaceFooter

if TYPE_CHECKING:
    from ptune_tui.tui.app import PTuneApp

PLACES = ("runs", "setup", "train", "compare", "export", "chat")
MIN_WIDTH, MIN_HEIGHT = 60, 20
SECONDS_TO_SET_ASIDE = 1.0  # behind its first frames
_COLLECTED_AFTER = (10_000, 10, 50)  # new objects, and rounds of the generation below


class PlaceBar(Static):
    """Names the places and marks the one that is shown."""

    def __init__(self, place: str) -> None:
        super().__init__(id="place-bar")
        self.place = place
        self._status = ""

    def on_resize(self) -> None:
        """Draw it; it changes only with the width and the status."""
        self._draw()

    def show_status(self, status: str) -> None:
        """Show how the work stands, on the right."""
        if status != self._status:
            self._status = status
            self._draw()

    def _draw(self) -> None:
        # Where it is narrow, the status has more to say than the name of the program.
        assert isinstance(self.screen, PlaceScreen)
        name, gap = ("ptune  ", "   ") if self.screen.is_wide else ("", " ")
        parts = [Content.styled(name, "bold"), *map(self._tab, PLACES)]
        status = Content.styled(f"{gap}{self._status}", "dim")
        self.update(Content("").join([*parts, status]), layout=False)  # one line, whatever it says

    def _tab(self, place: str) -> Content:
        """A place's name; the present one stands in brackets."""
        assert isinstance(self.screen, PlaceScreen)
        name = f"{self.screen.ptune.keymap.name(f'app.{place}')} {place.capitalize()}"
        if place == self.place:
            return Content.styled(f"[{name}]", "bold reverse")
        link = f"[@click=app.show_place('{place}')] $name [/]"
        return Content.from_markup(link, name=name)  # a key may be a bracket


class TooSmall(Static):
    """Covers a terminal that is too small; what it covers goes on."""

    def on_resize(self) -> None:
        """Say what is needed and what there is."""
        width, height = self.app.size
        self.update(
            f"This terminal is {width} x {height}; ptune needs {MIN_WIDTH} x {MIN_HEIGHT}. "
            "Make it larger; nothing is lost."
        )


def _set_aside() -> None:
    """Take the widgets and modules of a place out of the rounds of the garbage collector.

    It would look at all of them again and again, and a key waits for that: 30 to 40 ms of a core.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)


class PlaceScreen(Screen[None]):
    """A place."""

    PLACE: ClassVar[str] = ""
    TAB: ClassVar[str] = ""  # the place it belongs to, where it is none itself
    _usable: list[bool | None] | None = None

    @property
    def ptune(self) -> PTuneApp:
        """The app, as what it is."""
        from ptune_tui.tui.app import PTuneApp

        assert isinstance(self.app, PTuneApp)
        return self.app

    @property
    def is_wide(self) -> bool:
        """Whether two panes have room side by side; true before the class `-wide` is there."""
        wide, _ = self.ptune.HORIZONTAL_BREAKPOINTS[-1]
        return self.app.size.width >= wide

    def compose(self) -> ComposeResult:
        """The bar, the place's own widgets, the footer."""
        yield PlaceBar(self.TAB or self.PLACE)
        yield from self.compose_body()
        yield PlaceFooter()
        yield TooSmall(id="too-small")

    def compose_body(self) -> ComposeResult:
        """The place's own widgets."""
        yield from ()

    def on_mount(self) -> None:
        """Set what lasts aside, once it is there."""
        self.set_timer(SECONDS_TO_SET_ASIDE, _set_aside)

    def why_not(self, _action: str) -> str:
        """Why an action cannot be done now, as a sentence; empty for what its row says.

        Args:
            _action (str): Name of the method, without `action_`.
        """
        return ""

    def show_state(self) -> None:
        """Draw what the session holds now."""

    def on_screen_resume(self) -> None:
        """Catch up with what went on while another place was shown."""
        self.refresh_place()

    def refresh_place(self) -> None:
        """Draw the place and its bar."""
        # A place that was just switched to may not have its widgets yet.
        if self.is_mounted and self.query(PlaceBar):
            self.query_one(PlaceBar).show_status(self.ptune.status_text())
            self.show_state()
            usable = [self.check_action(row.action, ()) for row in ACTIONS]
            if usable != self._usable:  # a footer is expensive to make
                self._usable = usable
                self.refresh_bindings()
