"""The parts of Compare: which one is shown, and the keys that move between them."""

from __future__ import annotations

from ptune_tui.evaluation.markdown import markdown_lines, matrix_lines
from ptune_tui.results import Evaluation
from ptune_tui.tui.bindings import ACTIONS
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.table_views import FLIP_KINDS, FlipKind
from ptune_tui.tui.widgets.compare_form import CompareForm
from ptune_tui.tui.widgets.compare_panel import OF_A_LINE, ComparePanel
from ptune_tui.tui.widgets.flip_view import FlipView
from ptune_tui.tui.widgets.run_panels import Problem
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.widgets.text_view import TextView
from ptune_tui.tui.widgets.view_bar import VIEWS, View

EMPTY = """\
Nothing to compare yet. That takes a run with a prompt, or a bundle.

{setup}  set up a run and start it; Enter takes the defaults
{train}  watch it; when it has ended, come back here

Then: the base, a hand-written instruction, examples in the prompt, the
tuned prompt and its bundle, side by side, for a text or a data set.

{chat}  open a bundle that is there already, then come back here"""
NO_TABLE = """\
No table yet.

{start}  make one: all ticked lines answer the rows
{ask}   ask all of them a text of your own; needs no table"""


# Actions that help on from each part; the footer has no room for them.
HINTS: dict[View, tuple[str, ...]] = {
    "choose": ("compare.ask",),
    "text": ("compare.leave", "compare.ask"),
    "table": ("compare.ask", "compare.table"),
    "rows": ("compare.flips", "compare.line"),
    "confusion": ("compare.line",),
    "classes": ("compare.line",),
    "calibration": ("compare.line",),
}


FOCUSED: dict[View, str] = {
    "choose": "#compare-start",
    "text": "#answers-box",
    "table": "#view-table",
    "rows": "#flips",
    "confusion": "#matrix",
    "classes": "#view-classes",
    "calibration": "#view-calibration",
}


class CompareViews(PlaceScreen):
    """A place of several parts, one at a time.

    Attributes:
        view: The part that was asked for.
        form: Who is compared.
        panel: What was found.
    """

    def __init__(self) -> None:
        super().__init__()
        self.view: View = "choose"
        self.form = CompareForm()
        self.panel = ComparePanel()  # asked for too often to be looked up

    @property
    def views(self) -> tuple[View, ...]:
        """The parts that can be shown: where it is wide, the form always is."""
        left_out: tuple[View, ...] = ("choose",) if self.is_wide else ()
        left_out += () if self.has_labels else OF_A_LINE
        return tuple(view for view in VIEWS if view not in left_out)

    @property
    def has_labels(self) -> bool:
        """Whether the table's answers are labels; without a table, whether they may be."""
        evaluation, subject = self.shown_table(), self.form.subject
        if evaluation is not None:
            return bool(evaluation.contenders[0].class_scores)
        return subject is None or subject.run is None or subject.labels is not None

    @property
    def shown_view(self) -> View:
        """The part that is shown."""
        return "table" if self.view not in self.views else self.view

    @property
    def drawn_view(self) -> View:
        """The part whose place is drawn: without a table, the table's says how to make one."""
        view = self.shown_view
        has_own = self.shown_table() is not None or view in ("choose", "text")
        return view if has_own else "table"

    def nothing_to_compare(self) -> str:
        """How to begin."""
        name = self.ptune.keymap.name
        return EMPTY.format(setup=name("app.setup"), train=name("app.train"), chat=name("app.chat"))

    def no_table(self) -> str:
        """How to make a table."""
        name = self.ptune.keymap.name
        return NO_TABLE.format(start=name("compare.start"), ask=name("compare.ask"))

    def hint(self) -> str:
        """Keys that help on from the part that is shown."""
        is_empty = self.shown_table() is None and self.shown_view != "text"
        name = self.ptune.keymap.name
        rows = {row.id: row for row in ACTIONS}
        wanted = [rows[each] for each in HINTS["choose" if is_empty else self.shown_view]]
        usable = [row for row in wanted if self.check_action(row.action, ())]
        return "    ".join(f"{name(row.id)}  {row.description.lower()}" for row in usable)

    def shown_table(self) -> Evaluation | None:
        """The table whose parts are shown; None where there is none."""
        return self.panel.evaluation

    def action_copy(self) -> None:
        """Copy the part that is shown, or the error that has the focus."""
        text, what = self.copied()
        if text:
            self.ptune.copy_text(text, what)

    def copied(self) -> tuple[str, str]:
        """What is copied, and what that is; empty where there is nothing."""
        evaluation, view = self.shown_table(), self.shown_view
        problem = self.panel.query_one(Problem)
        if problem.has_focus:
            return problem.plain, "the error"
        if view == "text":
            return self.panel.query_one(TextView).plain, "the texts and their answers"
        if evaluation is None or view == "choose":
            return "", ""
        if view == "table":
            return "\n".join(markdown_lines(evaluation)), "the table as Markdown"
        if view == "rows":
            return self.panel.query_one(FlipView).plain, "the row"
        line = self.panel.line
        if line is None:
            return "", ""
        if view == "confusion":
            return "\n".join(matrix_lines(line)), "the matrix as Markdown"
        return self.panel.query_one(f"#{view}-text", Steady).plain, f"the {view} part"

    def action_show_view(self, view: View) -> None:
        """Show a part, where letters stay keys."""
        self.view = view
        self.refresh_place()
        self.query_one(FOCUSED["choose" if view == "choose" else self.drawn_view]).focus()

    def action_next_view(self) -> None:
        """Show the next part."""
        at = self.views.index(self.shown_view)
        self.action_show_view(self.views[(at + 1) % len(self.views)])

    def action_ask(self) -> None:
        """Go to the box for a text."""
        self.action_show_view("text")
        self.query_one("#compare-ask").focus()

    def action_next_table(self) -> None:
        """Show the table before this one."""
        self.panel.next_table()

    def action_next_line(self) -> None:
        """Show the next line's part."""
        self.panel.next_line()

    def action_next_flips(self) -> None:
        """Show another kind of rows that flipped."""
        at = FLIP_KINDS.index(self.panel.flip_kind)
        self.action_show_flips(FLIP_KINDS[(at + 1) % len(FLIP_KINDS)])

    def action_show_flips(self, kind: FlipKind) -> None:
        """Show a kind of the rows that flipped."""
        self.panel.show_flips(kind)

    def action_leave_field(self) -> None:
        """Leave a box that takes letters, so that letters are keys again."""
        self.set_focus(None)
