"""The parts of Compare, by name; the one that is shown stands in brackets."""

from __future__ import annotations

from typing import Literal, get_args

from textual.content import Content

from ptune_tui.tui.widgets.steady import Steady

View = Literal["choose", "text", "table", "rows", "confusion", "classes", "calibration"]
VIEWS: tuple[View, ...] = get_args(View)
_NAMES: dict[View, str] = {"text": "own text"}


class ViewBar(Steady):
    """The names; a click shows one."""

    def show(self, shown: View, views: tuple[View, ...]) -> None:
        """Draw the names.

        Args:
            shown (View): The part that is shown.
            views (tuple[View, ...]): Those that can be.
        """
        self.show_text(Content("").join(_tab(view, view == shown) for view in views))


def _tab(view: View, is_shown: bool) -> Content:
    name = _NAMES.get(view, view)
    if is_shown:
        return Content.styled(f"[{name}]", "bold reverse")
    return Content.from_markup(f"[@click=screen.show_view('{view}')] {name} [/]")
