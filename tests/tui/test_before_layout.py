"""Texts that are written before their place has its room."""

from __future__ import annotations

from textual.app import App, ComposeResult

from ptune_tui.tui.widgets.compare_panel import ComparePanel
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.widgets.view_bar import ViewBar
from tests.report.results import evaluation


class BarApp(App[None]):
    CSS = "ViewBar { display: none; padding: 0 1; } .-shown { display: block; }"

    def compose(self) -> ComposeResult:
        yield ViewBar()


class PanelApp(App[None]):
    CSS = "ComparePanel { display: none; } .-shown { display: block; } #table-text { width: auto; }"

    def compose(self) -> ComposeResult:
        yield ComparePanel()


async def test_the_names_of_the_parts_stand_over_their_pane() -> None:
    app = BarApp()
    async with app.run_test(size=(120, 10)) as pilot:
        bar = app.query_one(ViewBar)
        assert bar.size.width == 0
        bar.show("table", ("text", "table", "rows"))
        bar.add_class("-shown")
        await pilot.pause()
        drawn = "".join(segment.text for segment in bar.render_line(0))
        assert drawn.index("own text") == 51  # behind the form, and a blank


async def test_a_table_is_written_for_the_width_that_it_gets() -> None:
    app = PanelApp()
    async with app.run_test(size=(80, 30)) as pilot:
        panel, text = app.query_one(ComparePanel), app.query_one("#table-text", Steady)
        panel.offer([("today", evaluation())])
        assert text.plain == ""
        panel.add_class("-shown")
        await pilot.pause()
        await pilot.pause()
        longest = max(len(line) for line in text.plain.splitlines())
        assert 70 < longest <= text.size.width <= 80
