"""What Chat says while there is no bundle to talk to."""

from __future__ import annotations

from ptune_tui.tui.keymap import Keymap
from ptune_tui.tui.session import Session
from ptune_tui.tui.widgets.steady import Steady

NO_BUNDLE = """\
No bundle yet. A bundle is what answers: the frozen model, the soft prompt, the tokenizer.

{setup}  set up a run and start it
{train}  watch it; when it has ended, Enter exports it

{open}  open one that is there already: of a run, or in a folder of yours"""
BEING_WRITTEN = """\
No bundle yet, but one is being written: {folder}
It opens here once it is there.

{export}  watch it

{open}  open one that is there already: of a run, or in a folder of yours"""


class NoBundle(Steady):
    """How to come by a bundle, or that one is on its way."""

    def __init__(self) -> None:
        super().__init__("", id="no-bundle", classes="empty")

    def show(self, session: Session, keymap: Keymap) -> None:
        """Draw it.

        Args:
            session (Session): Whose export may go on.
            keymap (Keymap): The keys that help on.
        """
        name = keymap.name
        export = session.export.state if session.export and session.is_exporting else None
        if export is not None and export.asked.format == "bundle" and not export.is_cancelled:
            folder = export.asked.destination
            words = BEING_WRITTEN.format(
                folder=folder, export=name("app.export"), open=name("chat.open")
            )
        else:
            words = NO_BUNDLE.format(
                setup=name("app.setup"), train=name("app.train"), open=name("chat.open")
            )
        self.show_text(words)
