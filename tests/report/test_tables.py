"""Confusion matrix, flips and the table of contenders."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_matrix

from ptune_tui.report.comparison import comparison, findings
from ptune_tui.report.confusion import MAX_LABELS, confusion_matrix
from ptune_tui.report.flips import MAX_SHOWN, flip_groups
from ptune_tui.results import Flip, PairTest
from tests.report.results import evaluation


def test_a_small_matrix_is_shown_as_it_is() -> None:
    draw = np.random.default_rng(0)
    expected, answered = draw.integers(0, 4, 200), draw.integers(0, 4, 200)
    counts = sklearn_matrix(expected, answered)
    found = confusion_matrix("tuned", list("abcd"), counts.tolist())
    assert [[cell.num_rows for cell in row] for row in found.cells] == counts.tolist()
    shares = [[cell.share for cell in row] for row in found.cells]
    np.testing.assert_allclose(shares, sklearn_matrix(expected, answered, normalize="true"))
    assert [[cell.is_right for cell in row] for row in found.cells] == np.eye(
        4, dtype=bool
    ).tolist()
    assert found.num_merged == 0
    most = max((counts[i, j], -i, -j) for i in range(4) for j in range(4) if i != j)
    assert found.confusions[0].num_rows == most[0]


def test_of_many_labels_the_most_confused_are_kept_and_no_row_is_lost() -> None:
    draw = np.random.default_rng(1)
    counts = np.diag(draw.integers(20, 40, 77)) + (draw.random((77, 77)) < 0.03)
    counts[70, 3] += 15
    names = [f"label {number}" for number in range(77)]
    found = confusion_matrix("tuned", names, counts.tolist())
    assert len(found.labels) == len(found.cells) == MAX_LABELS
    assert {"label 70", "label 3"} < set(found.labels)
    assert found.labels[-1] == f"{found.num_merged} other labels"
    assert sum(cell.num_rows for row in found.cells for cell in row) == counts.sum()
    assert not any(cell.is_right for cell in found.cells[-1])
    first = found.confusions[0]
    assert (first.expected, first.answered, first.num_rows) == (
        "label 70",
        "label 3",
        counts[70, 3],
    )


def test_a_label_that_no_row_has_divides_by_nothing() -> None:
    found = confusion_matrix("tuned", ["a", "b"], [[0, 0], [1, 2]])
    assert [cell.share for cell in found.cells[0]] == [0.0, 0.0]


def test_flips_are_told_by_kind_and_long_lists_are_cut() -> None:
    flips = [Flip(n, "text", "yes", "no", "yes") for n in range(MAX_SHOWN + 5)]
    flips += [Flip(90, "text", "yes", "yes", "no"), Flip(91, "text", "yes", "no", "maybe")]
    groups = flip_groups(flips)
    assert [group.num_rows for group in groups] == [MAX_SHOWN + 5, 1, 1]
    assert len(groups[0].flips) == MAX_SHOWN
    assert groups[1].title == "Right only without it"
    assert flip_groups([]) == []


def test_the_best_of_each_column_is_marked_and_of_errors_the_lowest() -> None:
    table = comparison(evaluation())
    assert table.columns == ["accuracy", "macro-F1", "calibration error"]
    best = [[cell.is_best for cell in line.cells] for line in table.lines]
    assert np.array(best).sum(0).tolist() == [1, 1, 1]
    assert best[3] == [True, True, True]
    strips = [line.strip for line in table.lines if line.strip]
    assert all(0 <= strip.low <= strip.value <= strip.high <= 220 for strip in strips)


def test_a_contender_without_a_metric_has_a_dash() -> None:
    made = evaluation()
    lines = [msgspec.structs.replace(made.contenders[0], metrics=[]), made.contenders[3]]
    table = comparison(msgspec.structs.replace(made, contenders=lines))
    assert [cell.value for cell in table.lines[0].cells] == ["–", "–", "–"]
    assert table.lines[0].strip is None


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (PairTest("a", "b", 30, 5, 1e-5), "more than chance (p < 0.001, McNemar"),
        (PairTest("a", "b", 6, 5, 1.0), "may be chance (p = 1.000, McNemar"),
        (PairTest("a", "b", 9, 2, 0.03, corrected_p=0.09), "may be chance (p = 0.030, McNemar"),
        (PairTest("a", "b", 6, 5, 0.01, "bleu", 4.2), "has +4.200 BLEU against “b”"),
    ],
)
def test_a_test_is_a_sentence(test: PairTest, words: str) -> None:
    made = msgspec.structs.replace(evaluation(), tests=[test])
    assert words in findings(made)[0]
