"""The footer of a place: its keys as far as there is room, and always those of help and the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.events import MouseDown
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey  # the library's only name for it

from ptune_tui.tui.bindings import ACTIONS
from ptune_tui.tui.needs import rows_that_need

if TYPE_CHECKING:
    from ptune_tui.tui.app import PTuneApp

_AROUND, _AROUND_COMPACT = 3, 2  # cells of a key that are neither its name nor its word
_AROUND_PALETTE = 3  # in either case: a line, and two gaps
_KEPT = {row.action for row in ACTIONS if row.place == "app" or row.key == "escape"}


class PlaceFooter(Footer):
    """The keys; where room is short they move together, and then those of the place give way."""

    _made_for = 0

    def compose(self) -> ComposeResult:
        """As many keys as fit."""
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        room = self._made_for = self.app.size.width
        self.compact = footer_width(keys, is_compact=False) > room
        yield from fitting_keys(keys, room) if self.compact else keys

    async def on_resize(self) -> None:
        """Another width has room for others."""
        if self._made_for not in (0, self.app.size.width):
            await self.recompose()

    def on_mouse_down(self, event: MouseDown) -> None:
        """Say why a key that is disabled does nothing."""
        key: Widget | None = event.widget
        if isinstance(key, FooterKey) and key.has_class("-disabled"):
            rows = rows_that_need(self.screen, key.action)
            cast("PTuneApp", self.app).tell_needs(rows)


def footer_width(keys: Sequence[FooterKey], *, is_compact: bool) -> int:
    """Cells that keys take.

    Args:
        keys (Sequence[FooterKey]): The keys, that of the palette among them.
        is_compact (bool): Whether they stand close together.
    """
    around = _AROUND_COMPACT if is_compact else _AROUND
    return sum(
        cell_len(key.key_display)
        + cell_len(key.description)
        + (_AROUND_PALETTE if _is_of_palette(key) else around)
        for key in keys
    )


def fitting_keys(keys: Sequence[FooterKey], room: int) -> list[FooterKey]:
    """The keys that fit, close together: those go first that are disabled, then the last ones.

    Args:
        keys (Sequence[FooterKey]): All of them.
        room (int): Cells that there are.
    """
    left = list(keys)
    spare = [key for key in reversed(keys) if key.action not in _KEPT and not _is_of_palette(key)]
    for key in sorted(spare, key=lambda key: not key.has_class("-disabled")):
        if footer_width(left, is_compact=True) <= room:
            break
        left.remove(key)
    return left


def _is_of_palette(key: FooterKey) -> bool:
    return key.has_class("-command-palette")
