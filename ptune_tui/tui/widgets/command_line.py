"""The command that does what a form does."""

from __future__ import annotations

from textual.content import Content
from textual.message import Message

from ptune_tui.tui.widgets.steady import Steady


class CommandLine(Steady):
    """The command, to be copied by a click; a key of its place does the same."""

    class Pressed(Message):
        """To be copied."""

    def show_command(self, command: str | None) -> None:
        """Show a command.

        Args:
            command (str | None): None where the form is wrong.
        """
        if command is None:
            self.show_text("$ (a field is wrong)")
        else:
            self.show_text(Content.assemble(("y copies  ", "dim"), "$ ", command))

    def on_click(self) -> None:
        """Copy it."""
        self.post_message(self.Pressed())
