"""The pages of Setup: lists and editors that a field's value is chosen on."""

from __future__ import annotations

from textual import on

from ptune_tui.tui.fields import DATA, MODEL, PROMPT_FIELD, RESPONSE_FIELD, TEMPLATE, VALIDATION
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.field_row import FieldRow
from ptune_tui.tui.widgets.setup_form import SetupForm


class SetupPages(PlaceScreen):
    """A place with the form of a run, whose pages write into it."""

    @property
    def form(self) -> SetupForm:
        """The form."""
        return self.query_one(SetupForm)

    @on(FieldRow.ChooseAsked)
    def _choose(self, event: FieldRow.ChooseAsked) -> None:
        """Open the page that a field's value is chosen on."""
        match event.row.field.chooser:
            case "model":
                self.action_choose_model()
            case "data":
                self.action_choose_data()
            case "validation":
                self._choose_data(VALIDATION)
            case "template":
                self.action_edit_template()
            case _:
                self._choose_prompt(event.row)

    def action_choose_model(self) -> None:
        """Choose the model from a list."""
        from ptune_tui.tui.screens.models import ModelsScreen

        self.ptune.push_screen(
            ModelsScreen(self.form.known, lambda text: self.form.write({MODEL: text}))
        )

    def action_choose_data(self) -> None:
        """Choose the data from a list."""
        self._choose_data(DATA)

    def _choose_data(self, name: str) -> None:
        from ptune_tui.tui.screens.data_sets import DataSetsScreen

        self.ptune.push_screen(
            DataSetsScreen(
                self.form.known.data,
                lambda text: self.form.write({name: text}),
                is_validation=name == VALIDATION,
            )
        )

    def action_edit_template(self) -> None:
        """Choose columns and write the template."""
        if self.check_action("edit_template", ()) is None:
            self.notify("Mend the fields above it first.", severity="warning")
            return
        from ptune_tui.tui.screens.template import TemplateScreen

        known = self.form.known
        texts = {name: self.form.texts[name] for name in (TEMPLATE, PROMPT_FIELD, RESPONSE_FIELD)}
        self.ptune.push_screen(TemplateScreen(known.model, known.data, texts, self.form.write))

    def _choose_prompt(self, row: FieldRow) -> None:
        from ptune_tui.tui.screens.earlier_prompt import prompt_folders

        self.ptune.push_screen(
            prompt_folders(row.text, lambda text: self.form.write({row.field.name: text}))
        )
