"""The first rows as the trainer will see them, with the tokens marked that the loss is taken on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from ptune_tui.events import PreviewRow
from ptune_tui.tui.session import PreviewState
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.wording import one_line

EMPTY = "F6 shows the first rows, tokenised, with the tokens that the loss is taken on."
TO_FETCH = (
    "The model is not on this disk yet. F6 fetches it and shows the first rows, tokenised, "
    "with the tokens that the loss is taken on."
)


class PreviewPane(VerticalScroll):
    """The data preview."""

    def compose(self) -> ComposeResult:
        """One text."""
        yield Steady(EMPTY, id="preview-text")

    def on_mount(self) -> None:
        """Say how to read it."""
        self.border_title = "first rows, loss on [marked] tokens".replace("[", r"\[")

    def show(self, state: PreviewState | None, *, is_local: bool) -> None:
        """Show a preview, or how to get one.

        Args:
            state (PreviewState | None): None where there is none.
            is_local (bool): Whether the model is on this disk.
        """
        text = self.query_one("#preview-text", Steady)
        if state is None:
            text.show_text(EMPTY if is_local else TO_FETCH)
        elif state.made is not None:
            text.show_text(Content("\n").join(_numbered(state.made.rows)))
        elif state.task.failure is not None:
            failure = state.task.failure
            text.show_text(Content(f"✗ {failure.message}\n{failure.hint}"))
        else:
            text.show_text(Content(_waiting(state)))


def _waiting(state: PreviewState) -> str:
    running = [stage for stage in state.task.stages.values() if stage.status == "running"]
    if not running:
        return "Reading the rows..."
    stage = running[-1]
    percent = f" {100 * stage.done // stage.total} %" if stage.total else ""
    return f"{stage.name}{percent} {stage.detail}"


def _numbered(rows: Sequence[PreviewRow]) -> Iterator[Content]:
    for number, row in enumerate(rows, start=1):
        yield Content.assemble((f"{number} ", "dim"), row_text(row))


def row_text(row: PreviewRow) -> Content:
    """One row; what the loss is taken on stands in brackets, bold and underlined.

    Args:
        row (PreviewRow): The row.
    """
    parts = [Content.styled("…", "dim")] if row.was_cut else []
    pairs = zip(row.pieces, row.in_loss, strict=True)
    for in_loss, group in groupby(pairs, key=lambda pair: pair[1]):
        pieces = [one_line(piece) for piece, _ in group]
        if in_loss:
            marked = Content.styled("|".join(pieces), "bold underline $text-success")
            parts += [Content("["), marked, Content("]")]
        else:
            parts.append(Content("".join(pieces)))
    return Content("").join(parts)
