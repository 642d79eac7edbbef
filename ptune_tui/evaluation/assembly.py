"""The table of an evaluation, from the contenders' answers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ptune_tui import __version__
from ptune_tui.evaluation.answered import answered_rows
from ptune_tui.evaluation.bootstrap import FloatArray, Resamples
from ptune_tui.evaluation.comparisons import corrected, label_test, text_test
from ptune_tui.evaluation.contenders import ContenderAnswers, contender_scores, references
from ptune_tui.evaluation.text_scores import MISSING_EXTRA, has_text_metrics, row_scores
from ptune_tui.reading.source import files_of
from ptune_tui.results import Evaluation, Flip, ForgettingProbe, MetricName, PairTest
from ptune_tui.rows import Row

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Answered:
    """Everything that a table is made of.

    Attributes:
        name: What the user calls the data.
        data: Its file or folder.
        rows: What was asked and expected.
        labels: The closed set, or None for free text.
        contenders: In the order of the table.
        target: Title of the line that the others are compared with.
        flips_from: Title of the line from which rows flip to the target's answers, or "".
        forgetting: What the prompt costs elsewhere.
        notes: What was left out, and why.
        command: The command line.
        split_seed: Where the rows were held out of `data`: the seed that chose them.
    """

    name: str
    data: Path
    rows: Sequence[Row]
    labels: Sequence[str] | None
    contenders: Sequence[ContenderAnswers]
    target: str
    flips_from: str
    forgetting: Sequence[ForgettingProbe]
    notes: Sequence[str]
    command: str
    split_seed: int | None = None


def assemble(given: Answered, resamples: Resamples) -> Evaluation:
    """Score the contenders, test the target against each other one, and list what flipped.

    Args:
        given (Answered): The answers.
        resamples (Resamples): Of the rows.
    """
    notes = list(given.notes)
    if given.labels is None and not has_text_metrics():
        notes.append(MISSING_EXTRA)
    by_title = {contender.title: contender for contender in given.contenders}
    flips: list[Flip] = []
    if given.flips_from:
        before, after = by_title[given.flips_from], by_title[given.target]
        flips = flipped(given.rows, before.answers, after.answers, given.labels is not None)
    return Evaluation(
        data=given.name,
        data_hash=_sha256(given.data, given.split_seed),
        num_rows=len(given.rows),
        labels=None if given.labels is None else list(given.labels),
        contenders=[
            contender_scores(contender, given.rows, given.labels, resamples)
            for contender in given.contenders
        ],
        tests=corrected(_tests(given)),
        flips=flips,
        forgetting=list(given.forgetting),
        made_at=time.time(),
        version=__version__,
        command=given.command,
        flips_from=given.flips_from,
        flips_to=given.target if given.flips_from else "",
        notes=notes,
        answered=answered_rows(
            given.rows,
            [contender.answers for contender in given.contenders],
            is_closed=given.labels is not None,
        ),
    )


def flipped(
    rows: Sequence[Row], before: Sequence[str], after: Sequence[str], is_closed: bool
) -> list[Flip]:
    """Rows that two contenders answer differently.

    Args:
        rows (Sequence[Row]): What was asked.
        before (Sequence[str]): The answers of one.
        after (Sequence[str]): Of the other.
        is_closed (bool): Whether they are labels; of free text, which differs nearly everywhere,
            only rows that became right or wrong are listed.
    """
    flips = (
        # Of labels the one that is expected is right, as the scores count.
        Flip(
            *(number, row.prompt, row.response, left, right),
            references=[] if is_closed else list(row.references),
        )
        for number, (row, left, right) in enumerate(zip(rows, before, after, strict=True), start=1)
        if left != right
    )
    return [flip for flip in flips if is_closed or flip.is_gain or flip.is_loss]


def _tests(given: Answered) -> list[PairTest]:
    scores = {line.title: _row_scores(line, given) for line in given.contenders}
    metric, target = scores[given.target]
    tests = []
    for title, (_, other) in scores.items():
        if title == given.target:
            continue
        if metric == "accuracy":
            tests.append(label_test(given.target, title, target, other))
        else:
            tests.append(text_test(given.target, title, metric, (target, other)))
    return tests


def _row_scores(line: ContenderAnswers, given: Answered) -> tuple[MetricName, FloatArray]:
    if given.labels is None:
        return row_scores(line.answers, references(given.rows))
    pairs = zip(given.rows, line.answers, strict=True)
    return "accuracy", np.array([float(row.response == answer) for row, answer in pairs])


def _sha256(data: Path, split_seed: int | None) -> str:
    """Of the data set's file, or of its files one behind the other; and of how it was split."""
    digest = hashlib.sha256()
    if split_seed is not None:
        digest.update(f"held out, seed {split_seed}\n".encode())
    for path in files_of(data.as_posix()):
        with path.open("rb") as file:
            while part := file.read(_CHUNK_BYTES):
                digest.update(part)
    return digest.hexdigest()
