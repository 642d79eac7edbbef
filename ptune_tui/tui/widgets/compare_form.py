"""The form of a comparison: who is compared, and on which rows."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import Input

from ptune_tui.bundles import BundleCard
from ptune_tui.evaluation.instructions import propose_instruction
from ptune_tui.lineup import Lineup
from ptune_tui.tui.compare_check import check_comparison
from ptune_tui.tui.compare_choice import (
    FIELDS,
    KEYS,
    NO_BUNDLE,
    NO_PROMPT,
    OWN_FILE,
    OWN_FOLDER,
    NamedBundle,
    RowsChoice,
    bundle_of,
    data_choices,
    default_ticks,
    keys_of,
    labels_of,
    lora_note,
)
from ptune_tui.tui.compare_subjects import Subject, own_prompt, precisions_of, subject_of
from ptune_tui.tui.widgets.field_row import FieldRow, Form, row_id
from ptune_tui.tui.widgets.line_choice import LineChoice


class CompareForm(Form):
    """The fields, and what they add up to.

    Attributes:
        subject: The run or bundle that is compared; None where there is none.
        lineup: Who is compared; None where a field is wrong.
        rows: On which rows; None where a field is wrong.
    """

    class Changed(Message):
        """Something else is chosen."""

    def __init__(self) -> None:
        super().__init__(id="compare-form")
        self.subject: Subject | None = None
        self.lineup: Lineup | None = None
        self.rows: RowsChoice | None = None
        self._subjects: dict[str, Subject] = {}
        self._filled_for: tuple[object, ...] = ()  # what the presets follow from
        self._looked_at: tuple[str, Subject | None] = ("", None)
        self._looking = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """The fields, the boxes of the lines among them."""
        for field in FIELDS:
            yield FieldRow(field, field.default)
            if field.name == "prompt":
                yield LineChoice()

    async def offer(self, found: list[Subject], chosen: str | None) -> None:
        """Offer what can be compared.

        Args:
            found (list[Subject]): Runs and bundles.
            chosen (str | None): The one to take; None for the one that is taken now.
        """
        words = [subject.word for subject in found]
        last = self._row("of").text
        if words != list(self._subjects):
            self._row("of").show_choices([*words, OWN_FOLDER])
        self._subjects = dict(zip(words, found, strict=True))
        wanted = chosen or last
        if wanted in self._subjects or wanted == OWN_FOLDER:
            self._row("of").text = wanted
        await self.look()

    def on_field_row_changed(self) -> None:
        """Check again."""
        self.check()

    def on_line_choice_changed(self) -> None:
        """Check again."""
        self.check()

    @work(exclusive=True, group="check")
    async def check(self) -> None:
        """Look at the form; an earlier look is given up."""
        await self.look()

    async def look(self) -> None:
        """Read the form, fill in what follows from it, and show what is wrong.

        What lies on the disk is read once, beside the event loop; where the form has changed
        meanwhile it is read again, so that `lineup` and `rows` are those of what it shows.
        """
        async with self._looking:
            while not await self._is_looked_at():
                continue

    async def _is_looked_at(self) -> bool:
        """Look once; says whether the form is still the one that was looked at."""
        subject, bundle = await self._subject_of(self._texts()), NO_BUNDLE
        if subject is not None:
            self._fill_in(subject)
            bundle = await asyncio.to_thread(bundle_of, self._texts(), subject)
            self._fill_in_bundle(subject, bundle)
        texts, ticked = self._texts(), self.query_one(LineChoice).ticked
        self._show_rows(texts, ticked, subject, bundle.card)
        checked = await asyncio.to_thread(check_comparison, texts, ticked, subject, bundle)
        if texts != self._texts() or ticked != self.query_one(LineChoice).ticked:
            return False
        self.subject, self.lineup, self.rows = subject, checked.lineup, checked.rows
        for field in FIELDS:
            self._row(field.name).show_problem(checked.problems.get(field.name, ""))
        self.query_one(LineChoice).show_problem(checked.problems.get("lines", ""))
        self.post_message(self.Changed())
        return True

    async def _subject_of(self, texts: dict[str, str]) -> Subject | None:
        if texts["of"] != OWN_FOLDER:
            return self._subjects.get(texts["of"])
        text = texts["folder"].strip()
        if text != self._looked_at[0]:
            self._looked_at = (text, await asyncio.to_thread(_subject_in, text) if text else None)
        return self._looked_at[1]

    def _fill_in(self, subject: Subject) -> None:
        """What a run or a bundle has by itself."""
        if self._filled_for[:1] == (subject,):
            return
        self._row("of").show_filled(self._row("of").text, subject.about)
        bundle = str(subject.bundle) if subject.run and subject.bundle else ""
        self._row("bundle").text = bundle
        self._row("bundle").show_filled(bundle, "in the run" if bundle else "")
        choices = data_choices(subject)
        self._row("data").show_choices(choices)
        self._row("data").text = choices[0]
        self._filled_for = (subject,)

    def _fill_in_bundle(self, subject: Subject, bundle: NamedBundle) -> None:
        """What the bundle has by itself."""
        if self._filled_for == (subject, bundle):
            return
        card = bundle.card
        names = list(card.prompts) if card else []
        chosen = own_prompt(subject, card) if card else NO_PROMPT
        self._row("prompt").show_choices(names or [NO_PROMPT])
        self._row("prompt").text = chosen
        self._row("prompt").show_filled(chosen, "its own" if subject.run else "the first")
        self._offer_lines(subject, card, chosen, keeps=len(self._filled_for) > 1)
        self._filled_for = (subject, bundle)

    def _offer_lines(
        self, subject: Subject, card: BundleCard | None, prompt: str, *, keeps: bool
    ) -> None:
        """The boxes that can be ticked; of another bundle alone, the others stay as they are."""
        lines = self.query_one(LineChoice)
        default = default_ticks(subject, card, prompt)
        kept = lines.ticked & set(KEYS)
        lines.offer([*keys_of(subject), *(precisions_of(card) if card else [])], lora_note(subject))
        lines.tick((default - set(KEYS)) | kept if keeps else default)

    def _show_rows(
        self,
        texts: dict[str, str],
        ticked: set[str],
        subject: Subject | None,
        card: BundleCard | None,
    ) -> None:
        """Show the fields that something is read from."""
        shown = {
            "folder": texts["of"] == OWN_FOLDER,
            "bundle": subject is not None and subject.run is not None,
            "prompt": card is not None and len(card.prompts) > 1,
            "instruction": "instruction" in ticked,
            "examples": "few_shot" in ticked,
            "train": not ticked.isdisjoint(("few_shot", "lora")),
            "file": texts["data"] == OWN_FILE,
        }
        for name, is_shown in shown.items():
            self._row(name).display = is_shown
        labels = labels_of(subject, card, texts["prompt"]) if subject else None
        self._row("instruction").query_one(Input).placeholder = (
            propose_instruction(labels) if labels else ""
        )

    def _texts(self) -> dict[str, str]:
        return {field.name: self._row(field.name).text for field in FIELDS}

    def _row(self, name: str) -> FieldRow:
        return self.query_one(f"#{row_id(name)}", FieldRow)


def _subject_in(text: str) -> Subject | None:
    try:
        return subject_of(Path(text).expanduser())
    except (OSError, RuntimeError):  # no such user, a folder that may not be read
        return None
