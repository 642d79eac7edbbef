"""One contender's answers, and its line of the table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from ptune_tui.config import DataConfig
from ptune_tui.evaluation.bootstrap import Measure, Resamples, weighted_mean
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.evaluation.label_scores import LabelOutcomes
from ptune_tui.evaluation.text_scores import text_measures
from ptune_tui.results import ContenderScores, ForgettingProbe, MetricName
from ptune_tui.rows import Row

# Up to so many labels, all of them are scored unless asked otherwise: it costs little there.
_MAX_LABELS_WITH_PROBABILITIES = 20


class ContenderAnswers(Struct, frozen=True):
    """What a contender answered.

    Attributes:
        key: Which one.
        title: As a reader sees it; of its own in a table.
        computed_by: By what, such as "torch, stream".
        answers: One a row.
        probabilities: Of the answered labels among all labels, where those were scored.
        seconds: Time of the scoring alone.
        num_cut_rows: Rows whose prompt was cut to fit.
        detail: What it was given.
    """

    key: ContenderKey
    title: str
    computed_by: str
    answers: list[str]
    probabilities: list[float] | None
    seconds: float
    num_cut_rows: int = 0
    detail: str = ""


class TorchAnswers(Struct, frozen=True):
    """`result.json` of the task that scores a run.

    Attributes:
        labels: The run's closed set, or None for free text.
        columns: How the rows were read.
        contenders: In the order of the table.
        forgetting: What the prompt costs elsewhere, where it was asked for.
        notes: What was left out, and why.
    """

    labels: list[str] | None
    columns: DataConfig
    contenders: list[ContenderAnswers]
    forgetting: list[ForgettingProbe] = []
    notes: list[str] = []


def scores_all_labels(labels: Sequence[str] | None, asked: bool | None) -> bool:
    """Whether every label is scored, which calibration needs.

    Args:
        labels (Sequence[str] | None): The closed set, or None for free text.
        asked (bool | None): What was asked for; None: where they are few.
    """
    if labels is None:
        return False
    return len(labels) <= _MAX_LABELS_WITH_PROBABILITIES if asked is None else asked


def references(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The texts that are right for each row."""
    return [row.right_answers for row in rows]


def contender_scores(
    given: ContenderAnswers,
    rows: Sequence[Row],
    labels: Sequence[str] | None,
    resamples: Resamples,
) -> ContenderScores:
    """A line of the table.

    Args:
        given (ContenderAnswers): The answers.
        rows (Sequence[Row]): What was asked and expected.
        labels (Sequence[str] | None): The closed set, or None for free text.
        resamples (Resamples): Of the rows.
    """
    outcomes = None
    if labels is None:
        measures = text_measures(given.answers, references(rows))
    else:
        expected = [row.response for row in rows]
        outcomes = LabelOutcomes.of(labels, expected, given.answers, given.probabilities)
        measures = _label_measures(outcomes)
    return ContenderScores(
        key=given.key,
        title=given.title,
        computed_by=given.computed_by,
        metrics=[resamples.metric(name, measure) for name, measure in measures.items()],
        num_rows=len(rows),
        seconds=given.seconds,
        detail=given.detail,
        class_scores=outcomes.class_scores() if outcomes else [],
        confusion=outcomes.confusion() if outcomes else [],
        calibration=outcomes.calibration() if outcomes else [],
        num_cut_rows=given.num_cut_rows,
    )


def _label_measures(outcomes: LabelOutcomes) -> dict[MetricName, Measure]:
    measures: dict[MetricName, Measure] = {
        "accuracy": weighted_mean(outcomes.is_right.astype(np.float64)),
        "macro_f1": outcomes.macro_f1,
    }
    if outcomes.probabilities is not None:
        measures["calibration_error"] = outcomes.calibration_error
    return measures
