"""Texts that are written before their place has its room; the parts of a table by themselves."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from textual.app import App, ComposeResult

from ptune_tui.results import Evaluation
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


def two_lines(**changes: Any) -> Evaluation:
    made = evaluation()
    lines = [line for line in made.contenders if line.key in ("base", "tuned")]
    answered = [replace(row, answers=row.answers[:2]) for row in made.answered]
    return replace(made, contenders=lines, answered=answered, **changes)


async def test_the_next_line_of_rows_where_there_is_only_one() -> None:
    app = PanelApp()
    async with app.run_test(size=(80, 30)) as pilot:
        panel = app.query_one(ComparePanel)
        titles = [line.title for line in two_lines().contenders]
        panel.offer([("today", two_lines(flips_from=titles[0], flips_to=titles[1]))])
        panel.add_class("-shown")
        panel.show_view("rows")
        panel.next_line()
        await pilot.pause()
        panel.show_view("confusion")
        line = panel.line
        panel.next_line()
        await pilot.pause()
        assert panel.line is not line


async def test_rows_of_a_table_that_has_no_line_to_flip_from() -> None:
    app = PanelApp()
    async with app.run_test(size=(80, 30)) as pilot:
        panel = app.query_one(ComparePanel)
        made = replace(evaluation(), flips_from="", flips_to="")
        panel.offer([("today", made)])
        panel.add_class("-shown")
        panel.show_view("rows")
        await pilot.pause()
        panel.next_line()
        await pilot.pause()
        assert "no line to flip from" in app.query_one("#flip-counts", Steady).plain


async def test_a_line_is_chosen_for_the_part_that_was_shown() -> None:
    app = PanelApp()
    async with app.run_test(size=(80, 30)) as pilot:
        panel = app.query_one(ComparePanel)
        panel.offer([("today", evaluation())])
        panel.add_class("-shown")
        panel.show_view("classes")
        line = panel.line
        panel.show_view("rows")
        panel.next_line()
        panel.show_view("classes")  # before the box of the rows has said anything
        await pilot.pause()
        assert panel.line is line


async def test_a_line_of_another_table_is_not_taken_along_where_nothing_flips() -> None:
    app = PanelApp()
    async with app.run_test(size=(80, 30)) as pilot:
        panel, made = app.query_one(ComparePanel), evaluation()
        without_base = replace(made, flips_from="", flips_to="", made_at=made.made_at - 1)
        panel.offer([("today", made), ("before", without_base)])
        panel.add_class("-shown")
        panel.show_view("rows")
        panel.next_line()
        panel.next_table()
        await pilot.pause()
        assert panel.evaluation is without_base
        assert "no line to flip from" in app.query_one("#flip-counts", Steady).plain
