"""Every action of the app, once: its key, its words, and when it can be used.

Footer, help screen and command palette are made from this table, and a keymap names its ids. Only
keys that tmux, ssh and macOS let through: letters, digits, function keys, enter and escape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

Place = Literal["app", "runs", "setup", "rate", "train", "compare", "export", "chat"]


@dataclass(frozen=True)
class Action:
    """One row of the table.

    Attributes:
        id: What a keymap calls it.
        place: Where it can be used.
        key: Its keys, separated by commas.
        action: Name of the method, without `action_`.
        description: One or two words for the footer.
        tooltip: A sentence.
        needs: What is missing where it cannot be used now.
        in_footer: Whether the footer shows it.
    """

    id: str
    place: Place
    key: str
    action: str
    description: str
    tooltip: str
    needs: str = ""
    in_footer: bool = True

    @property
    def title(self) -> str:
        """What the palette calls it."""
        prefix = "" if self.place == "app" else f"{self.place.capitalize()}: "
        return prefix + self.description


ACTIONS = (
    Action(
        "app.runs",
        "app",
        "1,0,f10",
        "show_place('runs')",
        "Runs",
        "All runs: how they stand, their scores, their curves.",
        in_footer=False,
    ),
    Action(
        "app.setup",
        "app",
        "2,f2",
        "show_place('setup')",
        "Setup",
        "Choose model, data and settings of a run.",
        in_footer=False,
    ),
    Action(
        "app.train",
        "app",
        "3,f3",
        "show_place('train')",
        "Train",
        "Watch the run.",
        in_footer=False,
    ),
    Action(
        "app.compare",
        "app",
        "4,f4",
        "show_place('compare')",
        "Compare",
        "Did it help? Base, instruction, examples, tuned and bundle, side by side.",
        in_footer=False,
    ),
    Action(
        "app.export",
        "app",
        "5,f12",
        "show_place('export')",
        "Export",
        "Make a bundle, or a folder for another program, of a run.",
        in_footer=False,
    ),
    Action(
        "app.chat",
        "app",
        "6,f9",
        "show_place('chat')",
        "Chat",
        "Ask the exported bundle, base beside tuned.",
        in_footer=False,
    ),
    Action(
        "app.help",
        "app",
        "f1,question_mark",
        "show_help",
        "Help",
        "Every key of this place, with what it does.",
    ),
    Action(
        "app.theme",
        "app",
        "ctrl+t",
        "change_theme",
        "Theme",
        "Choose other colours.",
        in_footer=False,
    ),
    Action(
        "app.quit",
        "app",
        "ctrl+q,q",
        "quit",
        "Quit",
        "Leave; asks first where work goes on.",
    ),
    Action(
        "runs.open",
        "runs",
        "enter",
        "open",
        "Open",
        "Show the run: as it goes, or how it went.",
        needs="a run under the cursor, and no export that goes on",
    ),
    Action(
        "runs.mark",
        "runs",
        "space",
        "mark",
        "Mark",
        "Draw the run's loss curve over those of the other marked runs.",
        needs="a run under the cursor",
    ),
    Action(
        "runs.filter",
        "runs",
        "slash",
        "filter",
        "Filter",
        "Show only runs in which some words stand, in any column.",
        needs="a run",
    ),
    Action(
        "runs.delete",
        "runs",
        "d",
        "delete",
        "Delete",
        "Delete the run and all its files; asks first.",
        needs="a run under the cursor that nobody works on",
    ),
    Action(
        "runs.curves",
        "runs",
        "v",
        "curves",
        "Curves",
        "Show the loss curves, or what is known of the run.",
        in_footer=False,
        needs="a run, and a terminal too narrow for both",
    ),
    Action(
        "runs.unmark",
        "runs",
        "u",
        "unmark",
        "Unmark all",
        "Take all marks away.",
        in_footer=False,
        needs="a marked run",
    ),
    Action(
        "runs.copy",
        "runs",
        "y",
        "copy",
        "Copy path",
        "Copy the path of the run's folder.",
        in_footer=False,
        needs="a run under the cursor",
    ),
    Action(
        "runs.new",
        "runs",
        "n",
        "app.show_place('setup')",
        "New",
        "Set up another run.",
        in_footer=False,
    ),
    Action(
        "runs.end_filter",
        "runs",
        "escape",
        "end_filter",
        "All",
        "Show all runs again.",
        in_footer=False,
        needs="a filter",
    ),
    Action(
        "setup.start",
        "setup",
        "f5",
        "start",
        "Start",
        "Start to train with this form.",
        needs="a form without errors, and no run that still goes on",
    ),
    Action(
        "setup.preview",
        "setup",
        "f6",
        "preview",
        "Preview",
        "Tokenise the first rows and mark what the loss is taken on.",
        needs="a form without errors",
    ),
    Action(
        "setup.find_rate",
        "setup",
        "f7",
        "find_rate",
        "Find rate",
        "Try rising learning rates on these rows, draw the loss, and propose one.",
        needs="a form without errors, and no run that still goes on",
    ),
    Action(
        "setup.defaults",
        "setup",
        "f8",
        "defaults",
        "Defaults",
        "Put every field back to its default.",
    ),
    Action(
        "rate.take",
        "rate",
        "enter,t",
        "take_rate",
        "Take over",
        "Write the proposed rate into the form.",
        needs="a proposal; the test goes on",
    ),
    Action(
        "rate.back",
        "rate",
        "escape",
        "leave_rate",
        "Back",
        "End the test and go back to the form as it was.",
    ),
    Action(
        "train.stop",
        "train",
        "s",
        "stop",
        "Stop",
        "Stop after this step and keep the best prompt so far.",
        needs="a run that goes on",
    ),
    Action(
        "train.evaluate",
        "train",
        "e",
        "evaluate",
        "Evaluate",
        "Score the validation rows after this step.",
        needs="a run that goes on",
    ),
    Action(
        "train.view",
        "train",
        "v",
        "view",
        "View",
        "Show the last steps of the loss, or all of them.",
        in_footer=False,
        needs="a loss to show",
    ),
    Action(
        "train.resume",
        "train",
        "r",
        "resume",
        "Resume",
        "Go on from the last checkpoint of a run that ended early.",
        in_footer=False,
        needs="a run that ended before its last step and left a checkpoint",
    ),
    Action(
        "train.plan",
        "train",
        "p",
        "plan",
        "Plan",
        "Show why the steps are computed as they are, or the answers.",
        in_footer=False,
        needs="a run that has made its plan",
    ),
    Action(
        "train.export",
        "train",
        "x",
        "export",
        "Export",
        "Make a bundle of the run: what answers on a CPU.",
        needs="a run that has ended with a prompt",
    ),
    Action(
        "train.next",
        "train",
        "enter",
        "next",
        "Next",
        "Export a run that has ended; talk to it once it is exported.",
        in_footer=False,
        needs="a run that has ended with a prompt",
    ),
    Action(
        "train.chat",
        "train",
        "c",
        "chat",
        "Chat",
        "Ask the exported bundle.",
        needs="a bundle; export the run first",
    ),
    Action(
        "compare.start",
        "compare",
        "f5",
        "start",
        "Compare",
        "Make the table: every line that is ticked answers the rows.",
        needs="a form without errors, and no other work that goes on",
    ),
    Action(
        "compare.stop",
        "compare",
        "s,f7",
        "stop",
        "Stop",
        "End the table that is being made, or the answers.",
        needs="a comparison that goes on",
    ),
    Action(
        "compare.view",
        "compare",
        "v,f8",
        "next_view",
        "Next part",
        "Show the next part: own text, table, rows that flipped, confusion, classes, calibration.",
        needs="a run or a bundle",
    ),
    Action(
        "compare.copy",
        "compare",
        "y,f6",
        "copy",
        "Copy",
        "Copy the table as Markdown.",
        needs="a table",
    ),
    Action(
        "compare.ask",
        "compare",
        "a",
        "ask",
        "Ask",
        "Write a text and see what everybody answers.",
        in_footer=False,
        needs="a run or a bundle",
    ),
    Action(
        "compare.flips",
        "compare",
        "w",
        "next_flips",
        "Won or lost",
        "Of the rows that flipped show all, those won, those lost, the others.",
        in_footer=False,
        needs="a table, and its rows shown",
    ),
    Action(
        "compare.line",
        "compare",
        "l",
        "next_line",
        "Next line",
        "Show confusion, classes or calibration of the table's next line.",
        in_footer=False,
        needs="a table, and a part of one of its lines shown",
    ),
    Action(
        "compare.table",
        "compare",
        "e",
        "next_table",
        "Earlier table",
        "Show the run's table before this one.",
        in_footer=False,
        needs="a table",
    ),
    Action(
        "compare.leave",
        "compare",
        "escape",
        "leave_field",
        "Leave the field",
        "Leave a box that takes letters, so that letters are keys again.",
        in_footer=False,
    ),
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
        "Copy the command that does the same.",
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
        needs="a bundle of several precisions",
    ),
    Action(
        "chat.back",
        "chat",
        "escape",
        "back",
        "Stop / back",
        "Stop an answer that is being written; else go back to the run.",
    ),
)


def bindings_of(place: Place) -> list[Binding]:
    """The key bindings of a place.

    Args:
        place (Place): A place, or `app` for those that hold everywhere.
    """
    return [
        Binding(
            row.key,
            row.action,
            row.description,
            show=row.in_footer,
            id=row.id,
            tooltip=row.tooltip,
        )
        for row in ACTIONS
        if row.place == place
    ]
