"""The first rows as the trainer will see them, with the tokens marked that the loss is taken on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from ptune_tui.command_line import written_template
from ptune_tui.events import PreviewMade, PreviewRow
from ptune_tui.tui.preview_state import PreviewState
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.wording import one_line

EMPTY = "F6 shows the first rows, tokenised, with the tokens that the loss is taken on."
TO_FETCH = (
    "The model is not on this disk yet. F6 fetches it and shows the first rows, tokenised, "
    "with the tokens that the loss is taken on."
)
TITLE = r"first rows, loss on \[marked] tokens"
SHOWN_LABELS = 6


class PreviewPane(VerticalScroll):
    """The data preview.

    Args:
        id (str): Of the widget.
        shows_tokens (bool): Whether every token is set apart, not only those in the loss.
    """

    def __init__(self, *, id: str, shows_tokens: bool = False) -> None:  # noqa: A002
        super().__init__(id=id)
        self.shows_tokens = shows_tokens

    def compose(self) -> ComposeResult:
        """One text."""
        yield Steady(EMPTY, classes="preview-text")

    def on_mount(self) -> None:
        """Say how to read it."""
        self.border_title = TITLE

    def show(self, state: PreviewState | None, *, is_local: bool, is_stale: bool = False) -> None:
        """Show a preview, or how to get one.

        Args:
            state (PreviewState | None): None where there is none.
            is_local (bool): Whether the model is on this disk.
            is_stale (bool): Whether the rows are of an earlier state of the form.
        """
        text = self.query_one(".preview-text", Steady)
        self.set_class(is_stale, "-stale")
        waits = state is not None and not state.task.is_over
        self.border_subtitle = "as before the last change" if is_stale or waits else ""
        if state is None:
            text.show_text(EMPTY if is_local else TO_FETCH)
        elif state.made is not None:
            text.show_text(Content("\n").join(self._lines(state.made)))
        elif state.task.failure is not None:
            failure = state.task.failure
            text.show_text(Content(f"✗ {failure.message}\n{failure.hint}"))
        else:
            self.border_subtitle = ""
            text.show_text(Content(_waiting(state)))

    def _lines(self, made: PreviewMade) -> Iterator[Content]:
        for line in about_lines(made):
            yield Content.styled(line, "dim")
        for number, row in enumerate(made.rows, start=1):
            num_tokens, num_in_loss = len(row.pieces), sum(row.in_loss)
            head = (
                f"{number} "
                if not self.shows_tokens
                else f"{number} ({num_tokens} tokens, {num_in_loss} in the loss) "
            )
            yield Content.assemble((head, "dim"), row_text(row, shows_tokens=self.shows_tokens))


def about_lines(made: PreviewMade) -> Iterator[str]:
    """What is known of all rows, in words.

    Args:
        made (PreviewMade): The preview.
    """
    if made.num_train_rows:
        kind = "free text"
        if made.labels is not None:
            more = ", ..." if len(made.labels) > SHOWN_LABELS else ""
            kind = f"{len(made.labels)} labels: {', '.join(made.labels[:SHOWN_LABELS])}{more}"
        yield f"{made.num_train_rows:,} + {made.num_validation_rows:,} validation rows; {kind}"
    if made.template:
        yield f"template: {written_template(made.template)}"
    yield from made.about


def _waiting(state: PreviewState) -> str:
    running = [stage for stage in state.task.stages.values() if stage.status == "running"]
    if not running:
        return "Reading the rows..."
    stage = running[-1]
    percent = f" {100 * stage.done // stage.total} %" if stage.total else ""
    return f"{stage.name}{percent} {stage.detail}"


def row_text(row: PreviewRow, *, shows_tokens: bool = False) -> Content:
    """One row; what the loss is taken on stands in brackets, bold and underlined.

    Args:
        row (PreviewRow): The row.
        shows_tokens (bool): Whether a line stands between all tokens, not only those in the loss.
    """
    parts = [Content.styled("…", "dim")] if row.was_cut else []
    between = Content.styled("|", "dim") if shows_tokens else Content("")
    pairs = zip(row.pieces, row.in_loss, strict=True)
    for in_loss, group in groupby(pairs, key=lambda pair: pair[1]):
        pieces = [one_line(piece) for piece, _ in group]
        if in_loss:
            marked = Content.styled("|".join(pieces), "bold underline $text-success")
            parts += [Content("["), marked, Content("]")]
        else:
            parts.append(between.join(Content(piece) for piece in pieces))
    return Content("").join(parts)
