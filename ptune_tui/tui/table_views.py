"""A table as Compare shows it, part by part, as lines of text. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from textual.content import Content

from ptune_tui.evaluation.answered import flips_between, rows_between
from ptune_tui.evaluation.table import heading, points, summary_lines, table_lines, target_line
from ptune_tui.results import CalibrationBin, ContenderScores, Evaluation, Flip
from ptune_tui.tui.compare_state import LineProgress, TableState
from ptune_tui.tui.wording import seconds_text, share_text

FlipKind = Literal["flipped", "won", "lost", "other", "every row"]
FLIP_KINDS: tuple[FlipKind, ...] = get_args(FlipKind)
BAR_WIDTH = 20
_MAX_PAIRS = 5
_LABEL_WIDTH = 24


def score_lines(evaluation: Evaluation, width: int) -> Iterator[Content]:
    """The table with its intervals, and what stands below it.

    Args:
        evaluation (Evaluation): The table.
        width (int): Columns that there are.
    """
    for words in (heading(evaluation), "scores of 100, with 95 % intervals"):
        yield Content.styled(words, "dim")
    yield Content("")
    target = target_line(evaluation).title
    for number, line in enumerate(table_lines(evaluation, width)):
        style = "dim" if number == 0 else "bold" if line.startswith(f"{target}  ") else ""
        yield Content.styled(line, style)
    yield Content("")
    for line in summary_lines(evaluation, width):
        yield Content(line)


def progress_lines(state: TableState, now: float) -> Iterator[Content]:
    """A table that is being made: what was scored so far, with its accuracy.

    Args:
        state (TableState): The worker's events, folded.
        now (float): Seconds since the epoch.
    """
    if not state.lines:
        yield Content.styled("▸ starting...", "bold")
    for line in state.lines:
        is_running = line.seconds is None and not state.task.is_over
        yield Content.styled(_progress_line(line, now, is_running), "bold" if is_running else "")
    goes_on = not (state.task.is_over or state.is_cancelled)
    if state.lines and state.lines[-1].seconds is not None and goes_on:
        yield Content.styled("▸ preparing the next step...", "bold")
    if state.is_cancelled:
        words = "stopped; no table was made" if state.task.is_over else "stopping..."
        yield Content.styled(f"- {words}", "dim")


def made_nothing(state: TableState) -> str:
    """What became of a comparison that has ended without a table.

    Args:
        state (TableState): The worker's events, folded.
    """
    if state.is_cancelled:
        return "□ The last comparison was stopped and made no table"
    return "✗ The last comparison failed and made no table"


def _progress_line(line: LineProgress, now: float, is_running: bool) -> str:
    mark = "▸" if is_running else "-" if line.seconds is None else "✓"
    seconds = max(0.0, now - line.started) if line.seconds is None else line.seconds
    time = seconds_text(seconds) if is_running or line.seconds is not None else ""
    words = f"{mark} {line.title:<34.34} {time:>11}"
    if line.accuracy is not None:
        return f"{words}   {share_text(line.accuracy)}"
    return f"{words}   {line.done}/{line.total}" if is_running and line.total else words


def chosen_flips(evaluation: Evaluation, before: str, kind: FlipKind) -> list[Flip]:
    """Rows of one kind, from a line's answers to the target's.

    Args:
        evaluation (Evaluation): The table.
        before (str): Title of the line.
        kind (FlipKind): Those that flipped; became right; became wrong; differ and are wrong in
            both; or all, whether they flipped or not.
    """
    if kind == "every row":
        return rows_between(evaluation, before, evaluation.flips_to)
    flips = flips_between(evaluation, before, evaluation.flips_to)
    return [flip for flip in flips if kind in ("flipped", flip_kind(flip))]


def no_flips(evaluation: Evaluation, before: str, kind: FlipKind) -> str:
    """What is said in the place of rows, where there are none of a kind.

    Args:
        evaluation (Evaluation): The table.
        before (str): Title of the line that they flipped from; empty where there is none.
        kind (FlipKind): Which rows.
    """
    if not before:
        return "Tick another line, such as base, and compare again."
    same = "answer every row the same"
    if evaluation.labels is None:
        same = "are right and wrong in the same rows"
    known: dict[FlipKind, str] = {
        "flipped": f"No row flipped: {before} and {evaluation.flips_to} {same}.",
        "won": "No row became right.",
        "lost": "No row became wrong.",
        "other": "No row differs otherwise.",
        "every row": "This table does not keep its rows; one that is made anew does.",
    }
    return known[kind]


def flip_kind(flip: Flip) -> FlipKind:
    """Which way a row flipped."""
    return "won" if flip.is_gain else "lost" if flip.is_loss else "other"


def flip_mark(flip: Flip) -> tuple[str, str]:
    """A row's mark and its style."""
    marks = {"won": ("+", "$text-success"), "lost": ("-", "$text-error")}
    same = "" if flip.before == flip.after else "·"
    return marks.get(flip_kind(flip), (same, ""))


def flip_text(flip: Flip, evaluation: Evaluation, before: str) -> Content:
    """A row in full, with what every line answers.

    Args:
        flip (Flip): The row.
        evaluation (Evaluation): Its table.
        before (str): Title of the line it flipped from.
    """
    expected = list(dict.fromkeys([flip.expected, *flip.references]))
    right = {answer.strip() for answer in expected}
    parts: list[Content] = []
    for title, answer in _answers(flip, evaluation, before):
        mark = ("✓ ", "$text-success") if answer.strip() in right else ("✗ ", "$text-error")
        parts.append(
            Content.assemble(mark, (f"{title}: ", "dim"), answer.strip() or "(nothing)", "\n")
        )
    return Content.assemble(
        (f"row {flip.row} {_change(flip)}", f"bold {flip_mark(flip)[1]}"),
        "\n",
        *parts,
        ("expected: ", "dim"),
        " | ".join(expected),
        "\n\n",
        flip.prompt,
    )


def _answers(flip: Flip, evaluation: Evaluation, before: str) -> Iterator[tuple[str, str]]:
    """Of every line; of the two alone where the table does not hold the others'."""
    if flip.row <= len(evaluation.answered):
        titles = (line.title for line in evaluation.contenders)
        yield from zip(titles, evaluation.answered[flip.row - 1].answers, strict=True)
    else:
        yield before, flip.before
        yield evaluation.flips_to, flip.after


def _change(flip: Flip) -> str:
    if flip.is_gain:
        return "became right"
    if flip.is_loss:
        return "became wrong"
    if flip.before == flip.after:
        return "is answered the same"
    right = {answer.strip() for answer in (flip.expected, *flip.references)}
    return f"differs, {'right' if flip.after.strip() in right else 'wrong'} in both"


def confused_lines(line: ContenderScores) -> Iterator[Content]:
    """The pairs of labels that are taken for each other most often.

    Args:
        line (ContenderScores): A line of the table.
    """
    labels = [score.label for score in line.class_scores]
    pairs = [
        (count, labels[expected], labels[answered])
        for expected, row in enumerate(line.confusion)
        for answered, count in enumerate(row)
        if count and expected != answered
    ]
    if not pairs:
        yield Content.styled("Every row has its own label.", "dim")
    for count, expected, answered in sorted(pairs, reverse=True)[:_MAX_PAIRS]:
        rows = "1 row" if count == 1 else f"{count} rows"
        yield Content(f"{rows} of {expected} answered {answered}")


def class_lines(line: ContenderScores, other: ContenderScores | None) -> Iterator[Content]:
    """Precision, recall and F1 of each label, beside the F1 of another line.

    Args:
        line (ContenderScores): A line of the table.
        other (ContenderScores | None): What it is held against, such as the base.
    """
    width = min(_LABEL_WIDTH, max(5, *(len(score.label) for score in line.class_scores)))
    beside = f"  F1 of {other.title}" if other else ""
    head = f"{'':<{width}} {'precision':>9} {'recall':>7} {'F1':>6} {'rows':>6}{beside}"
    yield Content.styled(head, "dim")
    known = {score.label: score.f1 for score in other.class_scores} if other else {}
    for score in line.class_scores:
        shares = f"{100 * score.precision:>9.1f} {100 * score.recall:>7.1f} {100 * score.f1:>6.1f}"
        text = f"{score.label:<{width}.{width}} {shares} {score.num_rows:>6}"
        if score.label in known:
            gain = 100 * (score.f1 - known[score.label])
            yield Content.assemble(
                text,
                f"  {100 * known[score.label]:>5.1f} ",
                (f"{gain:+.1f}", "$text-success" if gain >= 0 else "$text-error"),
            )
        else:
            yield Content(text)


def calibration_lines(line: ContenderScores) -> Iterator[Content]:
    """Certainty beside accuracy, bin by bin.

    Args:
        line (ContenderScores): A line of the table.
    """
    if not line.calibration:
        yield Content(
            "Not known: the labels were not all scored. That is done where they are at most 20, "
            "or with `ptune eval --calibration`."
        )
        return
    error = next(metric for metric in line.metrics if metric.name == "calibration_error")
    value, interval = points(error)
    total = sum(part.num_rows for part in line.calibration)
    gap = sum(part.num_rows * (part.mean_probability - part.accuracy) for part in line.calibration)
    sure = f"{abs(100 * gap / total):.1f} points too {'sure' if gap > 0 else 'unsure'}"
    yield Content(f"expected calibration error {value} ({interval}); on the whole {sure}")
    yield Content("")
    yield Content.styled(f"{'':<11} {'rows':>6} {'says':>7} {'right':>7}", "dim")
    size = 1 / len(line.calibration)
    for number, part in enumerate(line.calibration):
        if part.num_rows:
            yield _calibration_line(number * size, (number + 1) * size, part)
    yield Content("")
    yield Content.styled(f"{'':<34} █ how many are right   │ how sure it is", "dim")


def _calibration_line(low: float, high: float, part: CalibrationBin) -> Content:
    filled = round(BAR_WIDTH * part.accuracy)
    cells = ["█"] * filled + ["·"] * (BAR_WIDTH - filled)
    cells[min(BAR_WIDTH - 1, int(BAR_WIDTH * part.mean_probability))] = "│"
    span = f"{100 * low:.0f}-{100 * high:.0f} %"
    return Content(
        f"{span:<11} {part.num_rows:>6} {100 * part.mean_probability:>7.1f} "
        f"{100 * part.accuracy:>7.1f}  {''.join(cells)}"
    )
