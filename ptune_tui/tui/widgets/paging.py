"""Scrolling a box by pages while something else has the focus."""

from __future__ import annotations

from textual.widget import Widget


def scroll_pages(box: Widget, pages: int) -> None:
    """Scroll a box that may not have the focus.

    Args:
        box (Widget): Which.
        pages (int): How far down; up where it is negative.
    """
    box.scroll_relative(y=pages * box.scrollable_content_region.height, animate=False)
