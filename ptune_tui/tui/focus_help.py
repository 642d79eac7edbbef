"""Help for what has the focus: a field, a table, a chart, a box."""

from __future__ import annotations

from dataclasses import dataclass

from textual.widget import Widget

from ptune_tui.tui.fields import Field


@dataclass(frozen=True)
class FocusHelp:
    """What a person wants to know of the thing before them.

    Attributes:
        title: What it is.
        lines: A sentence each.
    """

    title: str
    lines: tuple[str, ...]


_MOVE = "Up, Down, Page Up and Page Down move through it."
_PATHS = (
    "Tab or Right writes the rest of a path as far as it is certain, ~ is your own folder, and "
    "what is hidden is offered once a dot is written."
)
_BY_ID = {
    "written": FocusHelp("the line to write in", (_PATHS, "Down leads to the list.")),
    "runs-table": FocusHelp(
        "the table of runs",
        (
            "Status: ▸ running, ‖ paused, ✓ finished, □ stopped, ✗ failed or killed.",
            "Score is the best validation score, in brackets that of the base without the prompt.",
            "A sign in the first column marks a run whose curve is drawn below.",
            _MOVE,
        ),
    ),
    "filter": FocusHelp(
        "the filter",
        ("A run is shown where each word stands in one of its columns.", "Escape shows all again."),
    ),
    "run-details": FocusHelp(
        "what is known of the run",
        ("Its status, scores, changed settings, files, and what went wrong.", _MOVE),
    ),
    "problem": FocusHelp(
        "what went wrong",
        ("What happened, what to do, and where the log is; Copy takes all of it.",),
    ),
    "chart": FocusHelp(
        "the chart",
        (
            "The loss of each step: falling is good, level is learnt, a jump up is a bad step.",
            "Its views: all steps, the last 50, and every validation (accuracy, or the loss of "
            "free text), where the line upright marks the best prompt.",
            "On a logarithmic scale small losses are told apart.",
        ),
    ),
    "run-curves": FocusHelp(
        "loss curves",
        (
            "Smoothed losses of the marked runs, or of the one under the cursor, over their steps.",
            "A sign on each curve and in the legend tells them apart without colour.",
        ),
    ),
    "stages-box": FocusHelp(
        "the stages",
        (
            "✓ done, ▸ at work, ‖ paused, · to come, ✗ failed, - left out; the time is that of all "
            "its passes.",
            "Load reads the model and puts it on the 4-bit grid, probe measures how a step is best "
            "computed, evaluate scores validation rows, save keeps prompt and state.",
            _MOVE,
        ),
    ),
    "samples-box": FocusHelp(
        "answers, or why the plan is as it is",
        (
            "The same few held-out rows after each validation: ✓ right, ✗ wrong, the answer, what "
            "was expected, and the input.",
            "Behind the other view stand the reasons for the plan and all notices.",
            _MOVE,
        ),
    ),
    "rate-chart": FocusHelp(
        "the range test",
        (
            "The loss at each learning rate that was tried; the line upright is the proposal.",
            "Good rates lie where the curve falls; where it rises again they are too high.",
        ),
    ),
    "preview": FocusHelp(
        "the preview",
        ("The first rows as the model reads them, token by token; marked is what the loss is on.",),
    ),
    "checks-box": FocusHelp(
        "the export's steps and figures",
        (
            "rel.err, KL and top-1 say how near a precision is to torch, texts how many greedy "
            "answers are the same, answer what one takes here.",
            "✗ did not pass the gate and is not answered with.",
            _MOVE,
        ),
    ),
    "line-choice": FocusHelp(
        "the lines that are compared",
        (
            "Base: the template alone. Instruction: a text above it. Few-shot: training rows above "
            "it. Tuned: the prompt, computed by torch.",
            "LoRA: an adapter in float32, trained anew for the table on the same rows, for as long "
            "as the run. It does not answer texts of your own.",
            "The bundle answers once for each precision that is ticked. Space ticks.",
        ),
    ),
    "view-table": FocusHelp(
        "the table",
        (
            "Each score of 100, with the interval that 95 % of resampled rows lie in.",
            "Below it: whether the tuned prompt is better than each other line (McNemar's test), "
            "rows that flipped, and what the prompt does elsewhere.",
            _MOVE,
        ),
    ),
    "flips": FocusHelp(
        "the rows of the table",
        (
            "+ became right with the prompt, - became wrong, · differs otherwise.",
            "The row under the cursor stands below in full, with what every line answers.",
            _MOVE,
        ),
    ),
    "flip-box": FocusHelp("the row under the cursor", ("What was answered, and its text.", _MOVE)),
    "answers-box": FocusHelp(
        "the answers to texts of yours",
        (
            "Beside an answer stand its time and, for labels, how likely it and its rivals are.",
            _MOVE,
        ),
    ),
    "matrix": FocusHelp(
        "the confusion matrix",
        ("A row of it: rows that have this label, by the label they were given.", _MOVE),
    ),
    "view-classes": FocusHelp(
        "scores of each label",
        (
            "Precision: how many answers of this label are right. Recall: how many of its rows got "
            "it. F1 is between them; beside it that of the base, and the difference.",
            _MOVE,
        ),
    ),
    "view-calibration": FocusHelp(
        "calibration",
        (
            "Rows by how sure the answer is: the bar is how many are right, the line how sure it "
            "is. Where they meet, the probabilities can be believed.",
            _MOVE,
        ),
    ),
    "compare-ask": FocusHelp(
        "the input",
        (
            "Enter asks all lines that are ticked; the models stay loaded for the next text.",
            "Page Up and Page Down move through the answers.",
        ),
    ),
    "ask": FocusHelp(
        "the input",
        (
            "Enter sends the text to the tuned model and then to the base.",
            "Escape ends the answer that is being written and goes on to the next.",
            "Page Up and Page Down move through the answers.",
        ),
    ),
    "exchanges": FocusHelp(
        "the answers",
        (
            "Below an answer stands its time, and for a text the tokens a second. For a label p "
            "says how likely it is among all labels, as in Compare; of more than 20 it is not "
            "reckoned.",
            _MOVE,
        ),
    ),
}


def focus_help(focused: Widget | None) -> FocusHelp | None:
    """Help for a widget, or for what it stands in; None where there is nothing to say.

    Args:
        focused (Widget | None): What has the focus.
    """
    for node in focused.ancestors_with_self if focused is not None else ():
        field = getattr(node, "field", None)
        if isinstance(field, Field):
            return _field_help(field)
        if node.id in _BY_ID:
            return _BY_ID[node.id]
    return None


def _field_help(field: Field) -> FocusHelp:
    lines = [f"{field.help[:1].upper()}{field.help[1:]}."]
    lines += [_PATHS] if field.path is not None else []
    lines.append(f"Default: {field.default or field.unset or 'none'}.")
    if field.choices:
        lines.append(f"One of: {', '.join(field.choices)}.")
    if field.number is not None:
        lines.append("A whole number." if field.number is int else "A number.")
    return FocusHelp(f"the field {field.label}", tuple(lines))
