"""A table's rows: those that flipped, or all; the one under the cursor in full."""

from __future__ import annotations

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable

from ptune_tui.results import Evaluation, Flip
from ptune_tui.tui.table_views import (
    FLIP_KINDS,
    FlipKind,
    chosen_flips,
    flip_mark,
    flip_text,
    no_flips,
)
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.wording import one_line

MAX_ROWS = 1000  # that are listed; more would take seconds to lay out
_COLUMNS = {"row": 6, "": 2, "before": 13, "after": 13, "expected": 13, "text": 12}


class FlipView(Vertical):
    """What became right and what became wrong."""

    def __init__(self) -> None:
        super().__init__(id="view-rows", classes="view")
        self._flips: list[Flip] = []
        self._evaluation: Evaluation | None = None
        self._before = ""
        self._kind: FlipKind = "flipped"
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """The counts, the list, and one row of it in full."""
        yield Steady("", id="flip-counts")
        yield Steady("", id="no-flips")
        yield DataTable[Text](id="flips", cursor_type="row", cell_padding=0)
        with VerticalScroll(id="flip-box"):
            yield Steady("", id="flip-text")

    def show(self, evaluation: Evaluation | None, before: str, kind: FlipKind) -> None:
        """Draw the rows of a kind.

        Args:
            evaluation (Evaluation | None): The table.
            before (str): Title of the line whose answers stand before the target's.
            kind (FlipKind): Which of them.
        """
        picture = (id(evaluation), before, kind, self.app.theme, self.size.width)
        if picture == self._drawn:
            return
        self._drawn, self._evaluation = picture, evaluation
        self._before, self._kind = before, kind
        rows = chosen_flips(evaluation, before, kind) if evaluation and before else []
        self._flips = rows[:MAX_ROWS]
        self.query_one("#flip-counts", Steady).show_text(_kinds(evaluation, before, kind))
        words = no_flips(evaluation, before, kind) if evaluation and not rows else ""
        self.query_one("#no-flips").display = bool(words)
        self.query_one("#no-flips", Steady).show_text(words)
        self._fill()
        self._show_row()

    @property
    def plain(self) -> str:
        """The row under the cursor, in full."""
        return self.query_one("#flip-text", Steady).plain

    def on_resize(self) -> None:
        """The text takes the width that there is."""
        self.show(self._evaluation, self._before, self._kind)

    @on(DataTable.RowHighlighted)
    def _highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self._show_row()

    def _fill(self) -> None:
        table = self.query_one(DataTable)
        table.clear(columns=True)
        table.show_header = bool(self._flips)  # heads of nothing say nothing
        fixed = sum(_COLUMNS.values()) - _COLUMNS["text"]
        columns = {**_COLUMNS, "text": max(_COLUMNS["text"], self.size.width - fixed - 4)}
        for name, width in columns.items():
            table.add_column(Text(name), width=width)
        colours = self.app.theme_variables
        names = list(_COLUMNS)[1:]
        for flip in self._flips:
            mark, style = flip_mark(flip)
            texts = (mark, flip.before, flip.after, flip.expected, flip.prompt)
            cells = [
                _cell(text, columns[name] - 1) for name, text in zip(names, texts, strict=True)
            ]
            cells[0].stylize(colours[style[1:]] if style else "")
            table.add_row(Text(str(flip.row)), *cells)

    def _show_row(self) -> None:
        row = self.query_one(DataTable).cursor_row
        text = self.query_one("#flip-text", Steady)
        if self._evaluation is None or not 0 <= row < len(self._flips):
            text.show_text("")
        else:
            text.show_text(flip_text(self._flips[row], self._evaluation, self._before))


def _kinds(evaluation: Evaluation | None, before: str, shown: FlipKind) -> Content:
    """The kinds with their counts; a click shows one."""
    if evaluation is None:
        return Content("")
    if not before:
        return Content("This table has no line to flip from.")
    parts = []
    for kind in FLIP_KINDS:
        words = f"{kind} {len(chosen_flips(evaluation, before, kind))}"
        if kind == shown:
            parts.append(Content.styled(f"[{words}]", "bold"))
        else:
            parts.append(Content.from_markup(f"[@click=screen.show_flips('{kind}')] {words} [/]"))
    ways = f"  {before} → {evaluation.flips_to}"
    if len(chosen_flips(evaluation, before, shown)) > MAX_ROWS:
        ways = f"  the first {MAX_ROWS} are listed {ways}"
    return Content("").join([*parts, Content.styled(ways, "dim")])


def _cell(text: str, width: int) -> Text:
    cell = Text(one_line(text.strip()), no_wrap=True, overflow="ellipsis")
    cell.truncate(width, overflow="ellipsis")
    return cell
