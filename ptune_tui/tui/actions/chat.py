"""Actions of Chat, and of the page on which a bundle is chosen."""

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
        "chat.open",
        "chat",
        "f8,o",
        "open",
        "Open",
        "Open another bundle: of a run, exported before, or in a folder of yours.",
    ),
    Action(
        "chat.back",
        "chat",
        "escape",
        "back",
        "Back",
        "End the answer that is being written and go on to the next; else go back to the run.",
    ),
    Action(
        "bundles.take",
        "bundles",
        "enter,t",
        "take",
        "Take",
        "Talk to the highlighted bundle, or the one that is written.",
        needs="a bundle under the cursor",
    ),
    Action(
        "bundles.browse",
        "bundles",
        "b",
        "browse",
        "Browse",
        "Look for the folder of a bundle on this disk.",
    ),
    Action(
        "bundles.write",
        "bundles",
        "slash",
        "write",
        "Write",
        "Write a path.",
    ),
    Action(
        "bundles.leave",
        "bundles",
        "escape",
        "leave",
        "Back",
        "Go back; the chat stays as it was.",
    ),
)
