"""Actions of Export."""

from __future__ import annotations

from ptune_tui.tui.actions.action import Action

ACTIONS = (
    Action(
        "export.start",
        "export",
        "f5",
        "start",
        "Start",
        "Export what the form says.",
        needs="a form without errors, and no other work that goes on",
    ),
    Action(
        "export.cancel",
        "export",
        "s,f7",
        "cancel",
        "Cancel",
        "End the export; nothing is left behind.",
        needs="an export that goes on",
    ),
    Action(
        "export.copy",
        "export",
        "y,f6",
        "copy",
        "Copy",
        "Copy the command that does the same; the error, where that has the focus.",
        needs="a form without errors",
    ),
    Action(
        "export.chat",
        "export",
        "c,f8",
        "chat",
        "Chat",
        "Ask the bundle that was written.",
        needs="an export to a bundle that has ended well",
    ),
)
