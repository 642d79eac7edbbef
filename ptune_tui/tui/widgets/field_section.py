"""A part of the form: the fields that most runs set, and those that are folded away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from ptune_tui.tui.fields import FieldGroup, is_shown
from ptune_tui.tui.widgets.field_row import FieldRow


class SectionTitle(Static, can_focus=True):
    """What a part is called, and how many of its fields are folded away; Enter unfolds them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "fold", "More or less", show=False)
    ]

    class Pressed(Message):
        """To be unfolded, or folded."""

        def __init__(self, title: SectionTitle) -> None:
            super().__init__()
            self.title = title

    def action_fold(self) -> None:
        """Unfold, or fold."""
        self.post_message(self.Pressed(self))

    def on_click(self) -> None:
        """The same by mouse."""
        self.post_message(self.Pressed(self))


class FieldSection(Vertical):
    """The fields of a part of the configuration. Those folded away are mounted when first shown.

    Args:
        group (FieldGroup): Which.
        texts (Mapping[str, str]): What they hold at first.
        names (Mapping[str, list[str]]): By field, what may stand in the place of a path.
    """

    def __init__(
        self,
        group: FieldGroup,
        texts: Mapping[str, str],
        names: Mapping[str, list[str]],
    ) -> None:
        super().__init__(id=f"section-{group.name}", classes="section")
        self.group = group
        self.is_open = False
        self.rows = {
            field.name: FieldRow(field, texts[field.name], names.get(field.name))
            for field in group.fields
        }

    def compose(self) -> ComposeResult:
        """The title and the rows that are seen."""
        yield SectionTitle(id=f"title-{self.group.name}", classes="section-title")
        texts = {name: row.text for name, row in self.rows.items()}
        for name, row in self.rows.items():
            if self._is_seen(name, texts):
                yield row

    def show_rows(self, texts: Mapping[str, str]) -> None:
        """Show the rows that mean something now, and are not folded away.

        Args:
            texts (Mapping[str, str]): The whole form.
        """
        last = self.query_one(SectionTitle)
        num_hidden = 0
        for name, row in self.rows.items():
            is_seen = self._is_seen(name, texts)
            if is_seen and not row.is_attached:
                self.mount(row, after=last)
            row.display = is_seen
            num_hidden += is_shown(name, texts) and not is_seen
            if row.is_attached:
                last = row  # type: ignore[assignment]
        self._show_title(num_hidden)

    def _is_seen(self, name: str, texts: Mapping[str, str]) -> bool:
        if not is_shown(name, texts):
            return False
        number = [field.name for field in self.group.fields].index(name)
        row = self.rows[name]
        is_looked_at = row.is_attached and row.has_class("-focused")
        return self.is_open or number < self.group.num_first or not row.is_default or is_looked_at

    def _show_title(self, num_hidden: int) -> None:
        words = f"▸ {num_hidden} more" if num_hidden else "▾ less" if self.is_open else ""
        title = Content.assemble(
            (f"{self.group.title} ", "bold"), (f" {words} " if words else "", "")
        )
        self.query_one(SectionTitle).update(title)
