"""An evaluation as Markdown, for a document."""

from __future__ import annotations

from collections.abc import Iterator

from ptune_tui.evaluation.comparisons import correction_in_words, in_words
from ptune_tui.evaluation.table import (
    NAMES,
    flip_counts,
    forgetting_sentence,
    heading,
    points,
)
from ptune_tui.results import ContenderScores, Evaluation


def markdown_lines(evaluation: Evaluation) -> Iterator[str]:
    """The table, the tests, and what each line was given."""
    yield f"{heading(evaluation)}; sha256 of the file {evaluation.data_hash[:12]}."
    yield "Scores of 100, with 95 % intervals."
    yield ""
    names = [NAMES[metric.name] for metric in evaluation.contenders[0].metrics]
    yield f"| | {' | '.join(names)} | rows/s |"
    yield f"|---|{'---:|' * (len(names) + 1)}"
    for line in evaluation.contenders:
        yield _row(line)
    yield ""
    for test in evaluation.tests:
        yield f"- {in_words(test)}"
    if correction := correction_in_words(evaluation.tests):
        yield f"- {correction}"
    if evaluation.flips_from:
        yield f"- {flip_counts(evaluation)}"
    if evaluation.forgetting:
        yield f"- {forgetting_sentence(evaluation)}"
    for note in evaluation.notes:
        yield f"- {note}"
    yield ""
    for line in evaluation.contenders:
        yield f"- *{line.title}*: {line.computed_by}; {_escaped(line.detail)}"
    yield ""
    yield f"    {evaluation.command}"


def matrix_lines(line: ContenderScores) -> Iterator[str]:
    """The confusion matrix of a line: expected labels down, answered ones across.

    Args:
        line (ContenderScores): A line of a table over labels.
    """
    labels = [_escaped(score.label) for score in line.class_scores]
    yield f"| {_escaped(line.title)} | {' | '.join(labels)} |"
    yield f"|---|{'---:|' * len(labels)}"
    for label, counts in zip(labels, line.confusion, strict=True):
        yield f"| {label} | {' | '.join(map(str, counts))} |"


def _row(line: ContenderScores) -> str:
    cells = [f"{value} ({interval})" for value, interval in map(points, line.metrics)]
    speed = line.num_rows / line.seconds
    return f"| {line.title} | {' | '.join(cells)} | {speed:.1f} |"


def _escaped(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "\\<")
