"""What the pages share on which a value of the form is chosen from a list.

A line to write in, the list, and what is known of the highlighted entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from ptune_tui.errors import PTuneError
from ptune_tui.tui.path_completion import Completion, listed
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.path_input import PathInput
from ptune_tui.tui.widgets.steady import Steady

Take = Callable[[str], None]
LOOK_SECONDS = 0.2  # after the last key, before an entry is looked at


@dataclass(frozen=True)
class Choosing:
    """What is chosen on a page, and what is known of it.

    Attributes:
        title: What stands before the line.
        write_hint: What stands in the line while it is empty.
        is_offered: Whether the line is completed by a file.
        check_written: What the form's field is to hold for a text; raises a `PTuneError` that says
            why it cannot be used.
        describe: What is known of an entry, a sentence each. Called off the event loop.
        heading: What stands above the list.
        keeps_text: Whether one writes on behind what the line holds.
    """

    title: str
    write_hint: str
    is_offered: Callable[[Path], bool]
    check_written: Callable[[str], str]
    describe: Callable[[str], list[str]]
    heading: str = ""
    keeps_text: bool = False


class WrittenLine(PathInput):
    """The line to write in; down goes to the list."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("down", "screen.to_list", show=False)]


class ChoosingScreen(PlaceScreen):
    """A page over the form. A choice is given to `take`, and the page goes away.

    A page fills the list by itself, when it is mounted.

    Args:
        choosing (Choosing): What is chosen.
        take (Callable[[str], None]): Called with what the form's field is to hold.
    """

    TAB: ClassVar[str] = "setup"
    AUTO_FOCUS = "#choices"
    LOOKS_AWAY: ClassVar[bool] = False  # from the entry under the cursor, while one writes

    def __init__(self, choosing: Choosing, take: Take) -> None:
        super().__init__()
        self.choosing = choosing
        self.take = take
        self._looked_at = ""
        self._settling: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """The line, the list with its heading, and the details."""
        choosing = self.choosing
        with Horizontal(id="written-line"):
            yield Steady(choosing.title, id="choosing-title")
            yield WrittenLine(
                "",
                choosing.is_offered,
                placeholder=choosing.write_hint,
                id="written",
                keeps_text=choosing.keeps_text,
            )
        yield Steady("", id="written-problem")
        yield Steady("", id="written-candidates")
        with Horizontal(id="choosing-body"):
            with VerticalScroll(id="choices-box", can_focus=False):
                yield Steady(choosing.heading, id="choices-heading")
                yield OptionList(id="choices", compact=True)
            with VerticalScroll(id="choice-details"):
                yield Steady("", id="choice-text")

    def on_mount(self) -> None:
        """Name the box."""
        self.query_one("#choice-details").border_title = "what it is"

    @property
    def highlighted(self) -> str | None:
        """The entry under the cursor."""
        option = self.query_one("#choices", OptionList).highlighted_option
        return option.id if option is not None else None

    def show_options(self, options: Sequence[Option | None], chosen: str) -> None:
        """Fill the list; the entry that the form holds is highlighted.

        Args:
            options (Sequence[Option | None]): None stands for a line.
            chosen (str): An option's id; the first is highlighted where there is none such.
        """
        if not self.query("#choices"):  # the page went away while the entries were read
            return
        found = self.query_one("#choices", OptionList)
        found.clear_options()
        found.add_options(options)
        ids = [option.id for option in found.options]
        enabled = [index for index, option in enumerate(found.options) if not option.disabled]
        if enabled:
            found.highlighted = ids.index(chosen) if chosen in ids else enabled[0]
        self.refresh_place()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Taking needs something to take; None shows the key as disabled."""
        if action == "take" and self.query("#choices") and not self._wanted():
            return None
        return super().check_action(action, parameters)

    def action_take(self) -> None:
        """Take what is written, where one writes, else the highlighted entry."""
        wanted = self._wanted()
        if not wanted:
            return
        try:
            value = self.choosing.check_written(wanted)
        except PTuneError as error:
            self.show_problem(error.message)
            return
        self.dismiss()
        self.take(value)

    def choose(self) -> None:
        """What Enter does."""
        self.action_take()

    def action_leave(self) -> None:
        """Go back; the form stays as it was."""
        self.dismiss()

    def action_write(self) -> None:
        """Go to the line."""
        self.query_one("#written", Input).focus()

    def action_to_list(self) -> None:
        """Go to the list."""
        self.query_one("#choices").focus()

    def on_descendant_focus(self) -> None:
        """In the list the details are those of the entry under the cursor."""
        if not self.query_one("#written", Input).has_focus:
            self.look_soon(self.highlighted or "")

    def show_problem(self, problem: str) -> None:
        """Say what is wrong with what is written."""
        self.query_one("#written-problem", Steady).show_text(f"✗ {problem}" if problem else "")
        self.query_one("#written-problem").display = bool(problem)

    def _wanted(self) -> str:
        line = self.query_one("#written", Input)
        if line.has_focus:
            return line.value.strip()
        return self.highlighted or ""

    @on(Input.Submitted, "#written")
    @on(OptionList.OptionSelected, "#choices")
    def _chosen(self) -> None:
        self.choose()

    @on(Input.Changed, "#written")
    def _written(self) -> None:
        self.show_problem("")
        if self.LOOKS_AWAY and self.query_one("#written", Input).has_focus:
            self._look_away()
        self.refresh_place()

    def _look_away(self) -> None:
        """Details of an entry say nothing of what is written."""
        if self._settling is not None:
            self._settling.stop()
        self._looked_at = ""
        self._show_details(["Enter takes what is written."])

    @on(PathInput.Completed)
    def _completed(self, event: PathInput.Completed) -> None:
        self.show_candidates(event.completion)

    def show_candidates(self, completion: Completion) -> None:
        """Show what the line may become.

        Args:
            completion (Completion): What was found.
        """
        line, names = self.query_one("#written-candidates", Steady), completion.candidates
        line.show_text(listed(names, self.size.width - 4) if len(names) > 1 else "")
        line.display = len(names) > 1

    @on(OptionList.OptionHighlighted, "#choices")
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self.look_soon(event.option_id or "")

    def look_soon(self, source: str) -> None:
        """Look at an entry once the keys have settled."""
        if source == self._looked_at or not source:
            return
        self._looked_at = source
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(LOOK_SECONDS, self._look)

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        source = self._looked_at
        if not source:  # a path is being written
            return
        self._show_details([f"Looking at {source} ..."])
        lines = await asyncio.to_thread(self.choosing.describe, source)
        if source == self._looked_at:
            self._show_details(lines)

    def _show_details(self, lines: Sequence[str]) -> None:
        # None is there any more while the page goes away.
        for text in self.query("#choice-text").results(Steady):
            text.show_text(Content("\n").join(map(Content, lines)))
