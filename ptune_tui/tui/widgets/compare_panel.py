"""What a comparison has found: the parts of a table, and which table and line they are of."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, ScrollableContainer, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Select

from ptune_tui.results import ContenderScores, Evaluation
from ptune_tui.tui.table_views import (
    FlipKind,
    calibration_lines,
    class_lines,
    score_lines,
)
from ptune_tui.tui.widgets.field_row import Choice
from ptune_tui.tui.widgets.flip_view import FlipView
from ptune_tui.tui.widgets.matrix_view import NO_LABELS, MatrixView
from ptune_tui.tui.widgets.run_panels import Problem
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.widgets.text_view import TextView
from ptune_tui.tui.widgets.view_bar import View

OF_A_LINE: tuple[View, ...] = ("confusion", "classes", "calibration")
_NONE = "-"


class ComparePanel(Vertical):
    """The parts, one at a time.

    Attributes:
        evaluation: The table that is shown.
        tables: All that can be shown, the latest first, by when they were made.
        view: The part that is shown.
        flip_kind: Which of the rows that flipped.
    """

    class Changed(Message):
        """Another table is to be shown."""

    def __init__(self) -> None:
        super().__init__(id="compare-panel")
        self.evaluation: Evaluation | None = None
        self.view: View = "table"
        self.flip_kind: FlipKind = "flipped"
        self.tables: dict[str, Evaluation] = {}
        self._line = ""
        self._before = ""
        self._offered: tuple[list[str], str] = ([], "")
        self._is_told = False

    def compose(self) -> ComposeResult:
        """What went wrong, the choices, and the parts."""
        yield Problem(id="problem")
        yield Steady("", id="earlier-table")
        with Horizontal(id="compare-head"):
            for name in ("shown-table", "shown-line"):
                yield Choice(
                    [(_NONE, _NONE)], value=_NONE, allow_blank=False, compact=True, id=name
                )
        yield TextView()
        with ScrollableContainer(id="view-table", classes="view"):
            yield Steady("", id="table-text")
        yield FlipView()
        yield MatrixView()
        with ScrollableContainer(id="view-classes", classes="view"):
            yield Steady("", id="classes-text")
        with ScrollableContainer(id="view-calibration", classes="view"):
            yield Steady("", id="calibration-text")

    @property
    def line(self) -> ContenderScores | None:
        """The line that the parts of a line are of."""
        if self.evaluation is None or not self.evaluation.contenders[0].class_scores:
            return None
        return self.evaluation.contender(self._line)

    def offer(self, tables: Sequence[tuple[str, Evaluation]]) -> None:
        """Offer tables; the first one is shown.

        Args:
            tables (Sequence[tuple[str, Evaluation]]): Each with what to choose it by.
        """
        # By when they were made: a box whose value stays the same would keep its old words.
        self.tables = {str(table.made_at): table for _, table in tables}
        options = [(word, str(table.made_at)) for word, table in tables] or [(_NONE, _NONE)]
        box = self.query_one("#shown-table", Choice)
        with self.prevent(Select.Changed):
            box.set_options(options)
            box.value = options[0][1]
        box.disabled = len(tables) < 2
        self._take(tables[0][1] if tables else None)

    def next_table(self) -> None:
        """Show the table before this one; the latest behind the first."""
        known, box = list(self.tables), self.query_one("#shown-table", Choice)
        if len(known) > 1:
            box.value = known[(known.index(str(box.value)) + 1) % len(known)]

    @property
    def line_titles(self) -> list[str]:
        """The lines that the shown part can be of; of the rows: that they can be flipped from."""
        if self.evaluation is None:
            return []
        titles = [line.title for line in self.evaluation.contenders]
        if self.view != "rows":
            return titles
        if not self.evaluation.flips_to:  # a table without the base
            return []
        if not self.evaluation.answered:
            return [self.evaluation.flips_from] if self.evaluation.flips_from else []
        return [title for title in titles if title != self.evaluation.flips_to]

    def next_line(self) -> None:
        """Show the parts of the next line."""
        titles, shown = self.line_titles, self._shown_line
        if len(titles) > 1:
            self._show_line(titles[(titles.index(shown) + 1) % len(titles)])

    @property
    def _shown_line(self) -> str:
        """The line that the shown part is of; a title that the table has, where it has any."""
        titles, shown = self.line_titles, self._before if self.view == "rows" else self._line
        return shown if shown in titles else titles[0] if titles else ""

    def _show_line(self, title: str) -> None:
        if self.view == "rows":
            self._before = title
        else:
            self._line = title
        self.draw()

    def show_flips(self, kind: FlipKind) -> None:
        """Show a kind of the rows that flipped.

        Args:
            kind (FlipKind): Which.
        """
        self.flip_kind = kind
        self.draw()

    def _take(self, evaluation: Evaluation | None) -> None:
        self.evaluation = evaluation
        titles = [line.title for line in evaluation.contenders] if evaluation else [_NONE]
        if self._line not in titles and evaluation is not None:
            known = evaluation.flips_to or titles[-1]
            self._line = known if known in titles else titles[-1]
        if evaluation is not None and (
            self._before not in titles or self._before == evaluation.flips_to
        ):
            self._before = evaluation.flips_from
        self.draw()

    @on(Select.Changed, "#shown-table")
    def _table_chosen(self, event: Select.Changed) -> None:
        event.stop()
        # What it holds now: an event may be older than the tables that were offered since.
        table = self.tables.get(str(self.query_one("#shown-table", Choice).value))
        if table is not None and table is not self.evaluation:
            self._take(table)
            self.post_message(self.Changed())

    @on(Select.Changed, "#shown-line")
    def _line_chosen(self, event: Select.Changed) -> None:
        event.stop()
        title = str(self.query_one("#shown-line", Choice).value)  # an event may be older
        if title in self.line_titles:
            self._show_line(title)

    def on_resize(self) -> None:
        """The table takes the width that there is."""
        self.draw()

    def show_view(self, view: View, *, is_told: bool = False) -> None:
        """Show one part.

        Args:
            view (View): Which.
            is_told (bool): Whether something else is told in the place of the table.
        """
        self.view, self._is_told = view, is_told
        self.draw()

    def draw(self) -> None:
        """Draw the part that is shown."""
        view, evaluation = self.view, self.evaluation
        for part in self.query(".view"):
            part.display = part.id == f"view-{view}"
        has_head = evaluation is not None and view != "text"
        self.query_one("#compare-head").display = has_head and not self._is_told
        self._offer_lines()
        if evaluation is None:
            return
        if view == "table" and not self._is_told:
            # Not for a width that is not known yet: the library may keep the room of that text.
            if self.size.width:
                self._show("table", list(score_lines(evaluation, max(40, self.size.width - 3))))
        elif view == "rows":
            self.query_one(FlipView).show(evaluation, self._shown_line, self.flip_kind)
        elif view == "confusion":
            self.query_one(MatrixView).show(self.line)
        elif view == "classes":
            self._show("classes", self._class_part())
        elif view == "calibration":
            line = self.line
            self._show(
                "calibration", list(calibration_lines(line)) if line else [Content(NO_LABELS)]
            )

    def _offer_lines(self) -> None:
        titles, box = self.line_titles, self.query_one("#shown-line", Choice)
        box.display = self.view in OF_A_LINE or (self.view == "rows" and len(titles) > 1)
        shown = self._shown_line
        # Only where it changed: a box that is open would close.
        if box.display and titles and (titles, shown) != self._offered:
            self._offered = (titles, shown)
            with self.prevent(Select.Changed):
                box.set_options([(title, title) for title in titles])
                box.value = shown

    def _class_part(self) -> list[Content]:
        line, evaluation = self.line, self.evaluation
        if line is None or evaluation is None:
            return [Content(NO_LABELS)]
        other = evaluation.contender(evaluation.flips_from)
        return list(class_lines(line, other if other and other.title != line.title else None))

    def show_earlier(self, words: str) -> None:
        """Say that the table that is shown, if any, is not that of the last comparison.

        Args:
            words (str): What became of it; empty where it made this table.
        """
        line = self.query_one("#earlier-table", Steady)
        line.display = bool(words) and self.evaluation is not None
        line.show_text(f"{words}; this is an earlier table.")

    def show_table_text(self, lines: list[Content]) -> None:
        """Show something in the place of the table.

        Args:
            lines (list[Content]): What.
        """
        self._show("table", lines)

    def _show(self, name: str, lines: list[Content]) -> None:
        self.query_one(f"#{name}-text", Steady).show_text(Content("\n").join(lines))
