"""The parts of Compare, by name; the one that is shown stands in brackets."""

from __future__ import annotations

from typing import Literal, get_args

from textual.content import Content

from ptune_tui.tui.widgets.steady import Steady

View = Literal["choose", "text", "table", "rows", "confusion", "classes", "calibration"]
VIEWS: tuple[View, ...] = get_args(View)
_NAMES: dict[View, str] = {"text": "own text"}
_PANEL_LEFT = 50  # cells of the form beside which the parts stand where it is wide


class ViewBar(Steady):
    """The names; a click shows one."""

    def show(self, shown: View, views: tuple[View, ...]) -> None:
        """Draw the names.

        Args:
            shown (View): The part that is shown.
            views (tuple[View, ...]): Those that can be.
        """
        names = Content("").join(_tab(view, view == shown) for view in views)
        # The app's width: this bar may not have been laid out yet, and is not drawn again then.
        room = self.app.size.width - self.gutter.width - names.cell_length
        indent = 0 if "choose" in views else max(0, min(_PANEL_LEFT, room))
        self.show_text(names.pad_left(indent))


def _tab(view: View, is_shown: bool) -> Content:
    name = _NAMES.get(view, view)
    if is_shown:
        return Content.styled(f"[{name}]", "bold reverse")
    return Content.from_markup(f"[@click=screen.show_view('{view}')] {name} [/]")
