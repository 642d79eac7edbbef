"""The table of runs: a cell is written again only where its text has changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from ptune_tui.runs import RunSummary
from ptune_tui.tui.run_rows import Column, cell_text, fitting_columns
from ptune_tui.tui.widgets.curve import MARKERS
from ptune_tui.tui.widgets.run_details import STATUS_TONES


# Without the table's own Enter: the place's Enter opens a run, and the footer says so.
class RunTable(DataTable[Text], inherit_bindings=False):
    """The runs, one a row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor_up", show=False),
        Binding("down", "cursor_down", show=False),
        Binding("pageup", "page_up", show=False),
        Binding("pagedown", "page_down", show=False),
        Binding("home,ctrl+home", "scroll_top", show=False),
        Binding("end,ctrl+end", "scroll_bottom", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="runs-table", cursor_type="row", cell_padding=0, zebra_stripes=False)
        self._columns: list[Column] = []
        self._runs: list[RunSummary] = []
        self._marked: list[Path] = []
        self._now = 0.0
        self._drawn: dict[tuple[str, str], str] = {}

    @property
    def highlighted(self) -> RunSummary | None:
        """The run under the cursor."""
        row = self.cursor_row
        return self._runs[row] if 0 <= row < len(self._runs) else None

    def show(self, runs: Sequence[RunSummary], marked: Sequence[Path], now: float) -> None:
        """Draw the runs; the cursor stays on its run.

        Args:
            runs (Sequence[RunSummary]): In the order of the rows.
            marked (Sequence[Path]): Those whose curves are compared, in the order of the curves.
            now (float): Seconds since the epoch.
        """
        columns = self._fitting()
        is_same_table = columns == self._columns and self._paths(runs) == self._paths(self._runs)
        highlighted = self.highlighted
        self._runs, self._marked, self._now = list(runs), list(marked), now
        if is_same_table:
            self._write_changes()
        else:
            self._write_all(columns, highlighted)

    def on_mount(self) -> None:
        """Cells hold their colours, so other colours need other cells."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self._redraw())

    def on_resize(self) -> None:
        """Take the columns that fit now."""
        if self._fitting() != self._columns:
            self._redraw()

    def _redraw(self) -> None:
        self._write_all(self._fitting(), self.highlighted)

    def _fitting(self) -> list[Column]:
        """The columns that fit beside a scrollbar; none before there is a width."""
        width = self.outer_size.width - 1
        return fitting_columns(width) if width > 0 else []

    def _write_changes(self) -> None:
        for run in self._runs:
            for column in self._columns:
                key, text = (str(run.path), column.name), self._text_of(run, column)
                if self._drawn[key] != text:
                    self._drawn[key] = text
                    self.update_cell(*key, self._cell(run, column, text))

    def _write_all(self, columns: list[Column], highlighted: RunSummary | None) -> None:
        self._columns = columns
        self.clear(columns=True)
        self._drawn.clear()
        for column in self._columns:
            self.add_column(Text(column.title), width=column.width, key=column.name)
        for run in self._runs:
            cells = []
            for column in self._columns:
                text = self._text_of(run, column)
                self._drawn[str(run.path), column.name] = text
                cells.append(self._cell(run, column, text))
            self.add_row(*cells, key=str(run.path))
        paths = self._paths(self._runs)
        if highlighted is not None and highlighted.path in paths:
            self.move_cursor(row=paths.index(highlighted.path))

    def _text_of(self, run: RunSummary, column: Column) -> str:
        if column.name == "mark":
            is_marked = run.path in self._marked
            return f" {MARKERS[self._marked.index(run.path)]}" if is_marked else ""
        return cell_text(run, column.name, self._now, column.width - 1)

    def _cell(self, run: RunSummary, column: Column, text: str) -> Text:
        colours = self.app.theme_variables
        style = ""
        if column.name == "status":
            style = colours[STATUS_TONES[run.status]]
        elif column.name == "mark" and text:
            style = line_colours(colours)[self._marked.index(run.path)]
        cell = Text(text, style=style, no_wrap=True, overflow="ellipsis")
        cell.truncate(column.width - 1, overflow="ellipsis")
        return cell

    @staticmethod
    def _paths(runs: Sequence[RunSummary]) -> list[Path]:
        return [run.path for run in runs]


def line_colours(theme_variables: dict[str, str]) -> list[str]:
    """The colours of the compared curves, in order; as many as there are markers."""
    names = ("primary", "warning", "success", "error", "accent", "secondary")
    return [theme_variables[name] for name in names]
