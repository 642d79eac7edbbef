"""The form of a run: every field of the configuration, checked as it is written."""

from __future__ import annotations

from collections.abc import Mapping

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from ptune_tui.config import RunConfig
from ptune_tui.tui.fields import DATA, MODEL, builtin_sets, field_groups, known_models
from ptune_tui.tui.form_values import read_form, write_form
from ptune_tui.tui.widgets.field_row import FieldRow, Form
from ptune_tui.tui.widgets.field_section import FieldSection, SectionTitle


class SetupForm(Form):
    """The fields, part by part.

    Args:
        run_config (RunConfig): What they hold at first.

    Attributes:
        rows: Every field, whether it is on the screen or not.
        texts: What they hold, once it was checked.
        problems: A sentence for each field that is wrong.
        config: The configuration; None where a field is wrong.
    """

    class Changed(Message):
        """A field holds another text, and all were checked."""

    def __init__(self, run_config: RunConfig) -> None:
        super().__init__(id="form")
        texts = write_form(run_config)
        names = {MODEL: known_models(), DATA: list(builtin_sets())}
        self.sections = [FieldSection(group, texts, names) for group in field_groups()]
        self.rows: dict[str, FieldRow] = {}
        for section in self.sections:
            self.rows |= section.rows
        self.texts: dict[str, str] = {}
        self.problems: dict[str, str] = {}
        self.config: RunConfig | None = None

    def compose(self) -> ComposeResult:
        """Its parts."""
        yield from self.sections

    def on_mount(self) -> None:
        """Check it as it is at first."""
        self.check()

    def write(self, texts: Mapping[str, str]) -> None:
        """Write into fields, whether they are on the screen or not.

        Args:
            texts (Mapping[str, str]): Texts by field.
        """
        for name, text in texts.items():
            self.rows[name].text = text
        self.check()

    def check(self) -> None:
        """Read all fields, and show what is wrong."""
        texts = {name: row.text for name, row in self.rows.items()}
        if texts == self.texts:
            return  # every input says that it has changed when it is mounted
        self.texts = texts
        self.config, self.problems = read_form(texts)
        for name, row in self.rows.items():
            row.show_problem(self.problems.get(name, ""))
        self._show_rows()
        self.post_message(self.Changed())

    @property
    def known(self) -> RunConfig:
        """The configuration; a field that is wrong has its default in it."""
        right = {name: text for name, text in self.texts.items() if name not in self.problems}
        config, _ = read_form(right)
        return config or RunConfig()

    def fold_all(self) -> None:
        """Show every field, or only those that most runs set."""
        is_open = not all(section.is_open for section in self.sections)
        for section in self.sections:
            section.is_open = is_open
        self._show_rows()

    def on_field_row_changed(self) -> None:
        """Check again."""
        self.check()

    @on(SectionTitle.Pressed)
    def _fold(self, event: SectionTitle.Pressed) -> None:
        section = event.title.parent
        assert isinstance(section, FieldSection)
        section.is_open = not section.is_open
        self._show_rows()

    def _show_rows(self) -> None:
        for section in self.sections:
            section.show_rows(self.texts)
