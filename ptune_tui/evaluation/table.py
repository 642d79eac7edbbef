"""An evaluation as a table of so many columns, and as what stands below it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from ptune_tui.evaluation.comparisons import correction_in_words, in_words
from ptune_tui.results import ContenderScores, Evaluation, Flip, Metric, MetricName

WIDTH = 80
SHOWN_FLIPS = 20
_MAX_CONFUSION = 10  # labels whose confusion matrix fits
NAMES: dict[MetricName, str] = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "calibration_error": "calibration err.",
    "exact_match": "exact match",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "chrf": "chrF",
}


def points(metric: Metric) -> tuple[str, str]:
    """A score and its interval, of 100."""
    scale = 1.0 if metric.name in ("bleu", "chrf") else 100.0
    low, high = (f"{scale * end:.1f}" for end in (metric.low, metric.high))
    return f"{scale * metric.value:.1f}", f"{low}-{high}"


def heading(evaluation: Evaluation) -> str:
    """What was evaluated."""
    labels = evaluation.labels
    kind = "free text" if labels is None else f"{len(labels)} labels"
    return f"{evaluation.data}: {evaluation.num_rows} rows, {kind}"


def table_lines(evaluation: Evaluation, max_width: int = WIDTH) -> Iterator[str]:
    """The table: each score of 100 with its 95 % interval.

    Args:
        evaluation (Evaluation): What was found.
        max_width (int): Columns that there are.
    """
    lines = evaluation.contenders
    width = max(len(line.title) for line in lines)
    columns = [NAMES[metric.name] for metric in lines[0].metrics]
    cells = {line.title: [points(metric) for metric in line.metrics] for line in lines}
    one_line = {
        title: [f"{value} ({interval})" for value, interval in row] for title, row in cells.items()
    }
    widths = [
        max(len(name), *(len(row[number]) for row in one_line.values()))
        for number, name in enumerate(columns)
    ]
    if width + sum(size + 2 for size in widths) <= max_width:
        yield _row("", columns, width, widths)
        for title, row in one_line.items():
            yield _row(title, row, width, widths)
        return
    # Intervals go below the scores where they do not fit beside them.
    widths = [
        max(len(name), *(len(row[number][1]) for row in cells.values()))
        for number, name in enumerate(columns)
    ]
    yield _row("", columns, width, widths)
    for title, pairs in cells.items():
        yield _row(title, [value for value, _ in pairs], width, widths)
        yield _row("", [interval for _, interval in pairs], width, widths)


def summary_lines(evaluation: Evaluation, max_width: int = WIDTH) -> Iterator[str]:
    """Tests, flips and what the prompt does elsewhere, in sentences.

    Args:
        evaluation (Evaluation): What was found.
        max_width (int): Columns that there are.
    """
    for test in evaluation.tests:
        yield from _wrapped(in_words(test), max_width)
    if correction := correction_in_words(evaluation.tests):
        yield from _wrapped(correction, max_width)
    if evaluation.flips_from:
        yield from _wrapped(flip_counts(evaluation), max_width)
    if evaluation.forgetting:
        yield from _wrapped(forgetting_sentence(evaluation), max_width)
    for note in evaluation.notes:
        yield from _wrapped(note, max_width)


def flip_counts(evaluation: Evaluation) -> str:
    """How many rows flipped, which way."""
    gains = sum(flip.is_gain for flip in evaluation.flips)
    losses = sum(flip.is_loss for flip in evaluation.flips)
    others = len(evaluation.flips) - gains - losses
    more = f", {others} differ and are wrong in both" if others else ""
    return (
        f"From {evaluation.flips_from} to {evaluation.flips_to}: {gains} "
        f"{'row' if gains == 1 else 'rows'} became right, "
        f"{losses} became wrong{more}, of {evaluation.num_rows}."
    )


def forgetting_sentence(evaluation: Evaluation) -> str:
    """What the prompt does to text and questions that it was not trained for."""
    text, *questions = evaluation.forgetting
    changed = sum(question.base != question.tuned for question in questions)
    return (
        f"Elsewhere: {text.name} {text.base} without the prompt, {text.tuned} with it; "
        f"{changed} of {len(questions)} fixed questions answered otherwise."
    )


def detail_lines(evaluation: Evaluation) -> Iterator[str]:
    """What each line was given, the target class by class, flips and fixed questions."""
    for line in evaluation.contenders:
        cut = f", {line.num_cut_rows} rows cut to fit" if line.num_cut_rows else ""
        speed = line.num_rows / line.seconds
        yield from _wrapped(f"{line.title}: {line.computed_by}, {speed:.1f} rows/s{cut}")
        yield from _wrapped(line.detail, indent="    ")
    target = target_line(evaluation)
    if target.class_scores:
        yield ""
        yield from _class_lines(target)
    if evaluation.flips:
        yield ""
        yield from flip_lines(evaluation)
    for probe in evaluation.forgetting[1:]:
        yield ""
        yield probe.name
        yield f"  without: {probe.base}"
        yield f"  with:    {probe.tuned}"


def flip_lines(evaluation: Evaluation) -> Iterator[str]:
    """The first rows that flipped, those that became wrong before the others."""
    flips = sorted(evaluation.flips, key=lambda flip: not flip.is_loss)
    for flip in flips[:SHOWN_FLIPS]:
        yield _flip_line(flip)
    if len(flips) > SHOWN_FLIPS:
        yield f"  ... {len(flips) - SHOWN_FLIPS} more; `--json` lists them all."


def _flip_line(flip: Flip) -> str:
    mark = "+" if flip.is_gain else "-" if flip.is_loss else " "
    before, after, expected = map(_short, (flip.before, flip.after, flip.expected))
    text = f"row {flip.row}: {before} became {after}, expected {expected}: {flip.prompt}"
    return f"{mark} {textwrap.shorten(text, 2 * WIDTH, placeholder=' ...')}"


def _short(answer: str) -> str:
    return repr(textwrap.shorten(answer, WIDTH // 2, placeholder=" ..."))


def target_line(evaluation: Evaluation) -> ContenderScores:
    """The line that the others are compared with."""
    titles = [test.first for test in evaluation.tests]
    return (evaluation.contender(titles[0]) if titles else None) or evaluation.contenders[0]


def _class_lines(line: ContenderScores) -> Iterator[str]:
    width = max(len(line.title), *(len(score.label) for score in line.class_scores))
    yield _row(line.title, ["precision", "recall", "F1", "rows"], width, [9, 9, 9, 6])
    for score in line.class_scores:
        shares = [f"{100 * share:.1f}" for share in (score.precision, score.recall, score.f1)]
        yield _row(score.label, [*shares, str(score.num_rows)], width, [9, 9, 9, 6])
    if len(line.class_scores) > _MAX_CONFUSION:
        return
    yield ""
    yield "expected (down) by answered (across)"
    sizes = [max(4, len(str(max(map(max, line.confusion)))))] * len(line.confusion)
    letters = [chr(ord("a") + number) for number in range(len(line.confusion))]
    yield _row("", letters, width + 2, sizes)
    for letter, score, row in zip(letters, line.class_scores, line.confusion, strict=True):
        yield _row(f"{letter} {score.label}", [str(count) for count in row], width + 2, sizes)


def _row(title: str, cells: Sequence[str], width: int, widths: Sequence[int]) -> str:
    parts = [f"{cell:>{size}}" for cell, size in zip(cells, widths, strict=True)]
    return "  ".join([f"{title:<{width}}", *parts]).rstrip()


def _wrapped(text: str, max_width: int = WIDTH, indent: str = "") -> list[str]:
    # What belongs together, such as "p = 0.05", stays on one line.
    kept = re.sub(r"\bp ([<=]) ", "p\u00a0\\1\u00a0", text)
    lines = textwrap.wrap(
        kept,
        max_width,
        initial_indent=indent,
        subsequent_indent=indent or "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\u00a0", " ") for line in lines]
