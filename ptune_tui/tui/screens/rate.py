"""The range test: loss against learning rate as it comes, and the proposal to take over."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Button, Static

from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.rate_chart import RateChart
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.wording import rate_text

ABOUT = (
    "Rising rates are tried for a step each, on a prompt that is thrown away. Where the loss "
    "falls, rates are good; where it rises again, they are too high."
)


class RateScreen(PlaceScreen):
    """A range test, shown over the form that it was started from.

    Args:
        take (Callable[[float], None]): Called with a proposal that is taken over.
    """

    PLACE: ClassVar[str] = "rate"
    TAB: ClassVar[str] = "setup"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("rate")]
    AUTO_FOCUS = ""

    def __init__(self, take: Callable[[float], None]) -> None:
        super().__init__()
        self._take = take

    def compose_body(self) -> ComposeResult:
        """What it is, the curve, and how it stands."""
        yield Static(ABOUT, id="rate-about", markup=False)
        yield RateChart()
        yield Steady("", id="rate-sentence")
        with Horizontal(id="rate-line"):
            yield Button("Take it over", variant="primary", id="take", compact=True)
            yield Button("Back", id="rate-back", compact=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only a proposal can be taken over; None shows the key as disabled."""
        if action == "take_rate" and self._proposed() is None:
            return None
        return super().check_action(action, parameters)

    def action_take_rate(self) -> None:
        """Write the proposed rate into the form."""
        rate = self._proposed()
        if rate is not None:
            self._take(rate)
            self.action_leave_rate()

    def action_leave_rate(self) -> None:
        """End the test and go back to the form."""
        self.ptune.session.trials.end_rate_test()
        self.dismiss()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The same by button."""
        if event.button.id == "take":
            self.action_take_rate()
        else:
            self.action_leave_rate()

    def on_resize(self) -> None:
        """Draw the curve for the new width."""
        self.call_after_refresh(self.refresh_place)

    def show_state(self) -> None:
        """Draw the test."""
        followed = self.ptune.session.trials.rate
        if followed is None:
            return
        rate = self._proposed()
        self.query_one(RateChart).show(followed.state)
        self.query_one("#rate-sentence", Steady).show_text(followed.state.sentence())
        take = self.query_one("#take", Button)
        take.disabled = rate is None
        take.label = "Take it over" if rate is None else f"Take over {rate_text(rate)}"

    def _proposed(self) -> float | None:
        followed = self.ptune.session.trials.rate
        proposed = followed.state.proposed if followed else None
        return proposed.learning_rate if proposed else None
