"""Columns and template: which columns make a row, in which words, and what comes of real rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import ClassVar

import msgspec
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Button, Label, Select, TextArea

from ptune_tui.command_line import read_template, written_template
from ptune_tui.config import DataConfig, ModelConfig
from ptune_tui.errors import PTuneError
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.data_look import DataLook, look_at
from ptune_tui.tui.fields import PROMPT_FIELD, RESPONSE_FIELD, TEMPLATE, form_fields
from ptune_tui.tui.form_values import CHAT, checked
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.field_row import UP_AND_DOWN, Choice
from ptune_tui.tui.widgets.preview_pane import PreviewPane
from ptune_tui.tui.widgets.steady import Steady

SETTLE_SECONDS = 0.4  # after the last key, before the rows are made again
RECOGNISED = "recognised"
AUTOMATIC, MODELS_OWN, OWN = "automatic", "the model's chat template", "written below"
KINDS = (AUTOMATIC, MODELS_OWN, OWN)
PLAIN = "{prompt}\n"

Take = Callable[[Mapping[str, str]], None]


class TemplateArea(TextArea):
    """The box to write in; its own F6 would select a line."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("f6", "screen.render", show=False)]


class TemplateScreen(PlaceScreen):
    """The page.

    Args:
        model (ModelConfig): Whose tokens are shown.
        data (DataConfig): Which rows.
        texts (Mapping[str, str]): The form's texts of template and columns.
        take (Callable[[Mapping[str, str]], None]): Called with those texts as they are then.
    """

    PLACE: ClassVar[str] = "template"
    TAB: ClassVar[str] = "setup"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("template"), *UP_AND_DOWN]
    AUTO_FOCUS = "#template-kind"

    def __init__(
        self, model: ModelConfig, data: DataConfig, texts: Mapping[str, str], take: Take
    ) -> None:
        super().__init__()
        self.model = model
        self.data = data
        self.take = take
        self._first = dict(texts)
        self._settling: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """The columns, the template, and below or beside them the rows."""
        kind = kind_of(self._first[TEMPLATE])
        with Horizontal(id="template-body"):
            with Vertical(id="template-left"):
                for name, label in ((PROMPT_FIELD, "input column"), (RESPONSE_FIELD, "answer")):
                    chosen = self._first[name] or RECOGNISED
                    with Horizontal(classes="template-line"):
                        yield Label(label, classes="field-label")
                        yield Choice(
                            [(each, each) for each in dict.fromkeys((RECOGNISED, chosen))],
                            value=chosen,
                            allow_blank=False,
                            compact=True,
                            id=_choice_id(name),
                        )
                with Horizontal(classes="template-line"):
                    yield Label("template", classes="field-label")
                    yield Choice(
                        [(each, each) for each in KINDS],
                        value=kind,
                        allow_blank=False,
                        compact=True,
                        id="template-kind",
                    )
                text = read_template(self._first[TEMPLATE]) if kind == OWN else ""
                area = TemplateArea(
                    text, compact=True, id="template-text", highlight_cursor_line=False
                )
                area.cursor_blink = False
                yield area
                yield Steady("", id="template-problem")
                yield Steady("", id="template-columns")
                with Horizontal(id="template-buttons"):
                    yield Button("Take it over", variant="primary", id="take", compact=True)
                    yield Button("Back", id="template-back", compact=True)
            yield PreviewPane(id="template-preview", shows_tokens=True)

    def on_mount(self) -> None:
        """Read the columns, and render."""
        self._show_kind()
        self._read_columns()
        self._settle()

    @property
    def texts(self) -> dict[str, str]:
        """What the form would hold."""
        kind = self.query_one("#template-kind", Choice).value
        template = {AUTOMATIC: "", MODELS_OWN: CHAT}.get(str(kind))
        if template is None:
            template = written_template(self.query_one("#template-text", TextArea).text)
        texts = {TEMPLATE: template}
        for name in (PROMPT_FIELD, RESPONSE_FIELD):
            chosen = str(self.query_one(f"#{_choice_id(name)}", Choice).value)
            texts[name] = "" if chosen == RECOGNISED else chosen
        return texts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A template that is wrong is not taken over; None shows the key as disabled."""
        if action == "take" and self.query("#template-back") and self._config() is None:
            return None
        return super().check_action(action, parameters)

    def action_take(self) -> None:
        """Write template and columns into the form."""
        if self._config() is not None:
            texts = self.texts
            self.dismiss()
            self.take(texts)

    def action_leave(self) -> None:
        """Go back; the form stays as it was."""
        self.dismiss()

    def action_render(self) -> None:
        """Make the rows again, even where the model has to be fetched for it."""
        data = self._config()
        if data is not None:
            self._start(data)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The same by button."""
        if event.button.id == "take":
            self.action_take()
        else:
            self.action_leave()

    @on(Select.Changed, "#template-kind")
    def _kind_changed(self, event: Select.Changed) -> None:
        event.stop()
        area = self.query_one("#template-text", TextArea)
        if event.value == OWN and not area.text:
            area.text = self._used_template()
            area.move_cursor(area.document.end)
        self._show_kind()
        self._settle()

    @on(Select.Changed)
    @on(TextArea.Changed)
    def _changed(self) -> None:
        self._settle()

    def show_state(self) -> None:
        """Draw the rows."""
        followed = self.ptune.session.trials.preview
        pane = self.query_one(PreviewPane)
        is_local = self.ptune.session.trials.is_model_here(self.model.source)
        data = self._config()
        is_stale = data is None or not self._is_rendered(data)
        pane.show(followed.state if followed else None, is_local=is_local, is_stale=is_stale)
        self.query_one("#take", Button).disabled = data is None

    def _show_kind(self) -> None:
        kind = self.query_one("#template-kind", Choice).value
        self.query_one("#template-text").display = kind == OWN

    def _used_template(self) -> str:
        """The template that this data's rows were made with last, to begin with."""
        followed = self.ptune.session.trials.preview
        is_of_it = followed is not None and followed.state.asked.data.train == self.data.train
        made = followed.state.made if followed and is_of_it else None
        return made.template if made and made.template not in ("", CHAT) else PLAIN

    def _config(self) -> DataConfig | None:
        """The data with the columns and the template of this page; None where one is wrong."""
        texts = self.texts
        field = next(field for field in form_fields() if field.name == TEMPLATE)
        kind = self.query_one("#template-kind", Choice).value
        problem, template = "", None
        try:
            template = checked(field, texts[TEMPLATE])
        except PTuneError as error:
            problem = error.message
        if kind == OWN and not texts[TEMPLATE].strip():
            problem = "Write a template, or choose `automatic`."
        line = self.query_one("#template-problem", Steady)
        line.show_text(f"✗ {problem}" if problem else "")
        line.display = bool(problem)
        if problem:
            return None
        return msgspec.structs.replace(
            self.data,
            template=template,
            prompt_field=texts[PROMPT_FIELD] or None,
            response_field=texts[RESPONSE_FIELD] or None,
        )

    def _settle(self) -> None:
        """Render once the keys have settled."""
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE_SECONDS, self._render_rows)
        self.refresh_place()

    @work(exclusive=True, group="render")
    async def _render_rows(self) -> None:
        data = self._config()
        if data is None:
            return
        await asyncio.to_thread(self.ptune.session.trials.look_for_model, self.model.source)
        is_here = self.ptune.session.trials.is_model_here(self.model.source)
        if is_here and self.is_current and not self._is_rendered(data):
            self._start(data)
        self.refresh_place()

    def _is_rendered(self, data: DataConfig) -> bool:
        """Whether the rows that are shown, or on their way, are of this data."""
        followed = self.ptune.session.trials.preview
        return followed is not None and followed.state.is_of(self.model.source, data)

    def _start(self, data: DataConfig) -> None:
        try:
            self.ptune.session.trials.start_preview(self.model, data)
        except (PTuneError, OSError) as error:
            self.ptune.tell_error(error)
        self.refresh_place()

    @work(exclusive=True, group="columns")
    async def _read_columns(self) -> None:
        """Offer the columns that the data has."""
        plain = msgspec.structs.replace(
            self.data, template=None, prompt_field=None, response_field=None
        )
        look = await asyncio.to_thread(look_at, plain)
        if not self.query("#template-columns"):  # the page went away meanwhile
            return
        for name, found in ((PROMPT_FIELD, look.inputs), (RESPONSE_FIELD, look.answers)):
            choice = self.query_one(f"#{_choice_id(name)}", Choice)
            chosen = str(choice.value)
            words = f"{RECOGNISED}: {', '.join(found)}" if found else RECOGNISED
            columns = dict.fromkeys([*look.columns, *([chosen] if chosen != RECOGNISED else [])])
            with choice.prevent(Select.Changed):
                choice.set_options([(words, RECOGNISED), *((each, each) for each in columns)])
                for value in (*list(columns)[-1:], chosen):  # a value that stays is not drawn anew
                    choice.value = value
        self.query_one("#template-columns", Steady).show_text(columns_text(look))


def columns_text(look: DataLook) -> str:
    """The columns of a data set in words, or what is wrong with it.

    Args:
        look (DataLook): What was found.
    """
    if not look.columns:
        return f"✗ {look.problem.message} {look.problem.hint}" if look.problem else ""
    names = " ".join(f"{{{{ {name} }}}}" for name in look.columns)
    shape = look.shape or "no known shape: choose the columns"
    return f"columns: {names}\nread as: {shape}"


def kind_of(text: str) -> str:
    """Which kind of template a form's text is.

    Args:
        text (str): As the form holds it.
    """
    if not text.strip():
        return AUTOMATIC
    return MODELS_OWN if read_template(text) == CHAT else OWN


def _choice_id(name: str) -> str:
    return "choose-" + name.replace(".", "-").replace("_", "-")
