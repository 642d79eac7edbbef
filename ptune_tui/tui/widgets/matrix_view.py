"""The confusion matrix of a line: expected labels down, answered ones across."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import DataTable

from ptune_tui.results import ContenderScores
from ptune_tui.tui.table_views import confused_lines
from ptune_tui.tui.widgets.steady import Steady

HEAD = "expected (down) by answered (across)"
NO_LABELS = "The answers are free text: there are no labels to confuse."
_LABEL_WIDTH = 16
_CELL_WIDTH = 9


class MatrixView(Vertical):
    """The matrix, and the pairs that are confused most often."""

    def __init__(self) -> None:
        super().__init__(id="view-confusion", classes="view")
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """The matrix, and sentences below it."""
        yield Steady(HEAD, id="matrix-head")
        yield DataTable[Text](id="matrix", cursor_type="cell", cell_padding=0, fixed_columns=1)
        yield Steady("", id="confused")

    def show(self, line: ContenderScores | None) -> None:
        """Draw a line's matrix.

        Args:
            line (ContenderScores | None): Of the table; None for none.
        """
        picture = (line, self.app.theme)
        if picture == self._drawn:
            return
        self._drawn = picture
        table = self.query_one(DataTable)
        table.clear(columns=True)
        self.query_one("#matrix-head", Steady).show_text(HEAD if line else NO_LABELS)
        table.display = line is not None
        if line is None:
            return
        labels = [score.label for score in line.class_scores]
        table.add_column(Text(""), width=_LABEL_WIDTH)
        for label in labels:
            table.add_column(_cut(label, _CELL_WIDTH - 1, "", "right"), width=_CELL_WIDTH)
        for number, (label, counts) in enumerate(zip(labels, line.confusion, strict=True)):
            cells = (
                _cut(
                    str(count) if count else "·",
                    _CELL_WIDTH - 1,
                    self._style(number, at, count),
                    "right",
                )
                for at, count in enumerate(counts)
            )
            table.add_row(_cut(label, _LABEL_WIDTH - 1, ""), *cells)
        self.query_one("#confused", Steady).show_text(Content("\n").join(confused_lines(line)))

    def _style(self, expected: int, answered: int, count: int) -> str:
        colours = self.app.theme_variables
        if not count:
            return "dim"
        return colours["text-success"] if expected == answered else f"bold {colours['text-error']}"


def _cut(text: str, width: int, style: str, justify: str = "left") -> Text:
    cell = Text(text, style=style, no_wrap=True, overflow="ellipsis")
    cell.truncate(width, overflow="ellipsis")
    if justify == "right":
        cell.align("right", width)
    return cell
