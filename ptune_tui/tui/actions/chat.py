"""Actions of Chat."""

from __future__ import annotations

from ptune_tui.tui.actions.action import Action

ACTIONS = (
    Action(
        "chat.prompt",
        "chat",
        "f5",
        "next_prompt",
        "Prompt",
        "Answer with the next of the bundle's prompts.",
        needs="a bundle of several prompts",
    ),
    Action(
        "chat.precision",
        "chat",
        "f6",
        "next_precision",
        "Precision",
        "Answer in the next of the bundle's precisions.",
        in_footer=False,
        needs="a bundle of several precisions",
    ),
    Action(
        "chat.copy",
        "chat",
        "f7,y",
        "copy",
        "Copy",
        "Copy the last answer of the tuned model.",
        needs="an answer",
    ),
    Action(
        "chat.back",
        "chat",
        "escape",
        "back",
        "Back",
        "End the answer that is being written and go on to the next; else go back to the run.",
    ),
)
