"""Rows that are scored together get the labels that they get alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.answering import Answerer
from export.labels import LabelTrie, exhaustive_scores, label_probabilities
from export.row_scoring import MAX_EAGER_PATHS, label_pack, packs
from export.runtime import Bundle
from export.sampling import log_softmax, log_sum_exp
from tests.export.conftest import Exported
from tests.export.test_graph import Case

TEXTS = ["the cat", "where is my dog?", "red", "a b c d e f g", "the", "cat dog red"]


def opened(made: Exported, precision: str) -> Answerer:
    return Bundle.open(made.bundle, precision, num_threads=1).tuned()  # type: ignore[arg-type]


def test_rows_together_get_the_labels_of_each_alone(exported_throughput: Exported) -> None:
    tuned = opened(exported_throughput, "throughput")
    assert tuned.bundle.session.takes_layout
    alone = [tuned.classify(text) for text in TEXTS]
    together = tuned.classify_rows(TEXTS)
    assert [found.label for found in together] == [found.label for found in alone]
    for found, expected in zip(together, alone, strict=True):
        assert found.log_probability == pytest.approx(expected.log_probability, abs=1e-3)


def test_a_graph_for_one_sequence_scores_row_by_row(exported_throughput: Exported) -> None:
    tuned = opened(exported_throughput, "exact")
    assert not tuned.bundle.session.takes_layout
    assert tuned.classify_rows(TEXTS) == [tuned.classify(text) for text in TEXTS]


def test_a_text_that_is_too_long_is_cut_and_said_to_be(exported_throughput: Exported) -> None:
    tuned = opened(exported_throughput, "throughput")
    long = "the cat " * 400
    found = tuned.classify_rows(["red", long])
    assert [row.was_cut for row in found] == [False, True]
    assert found[1].label == tuned.classify(long).label


@pytest.mark.parametrize("num_labels", [3, 60])
def test_the_winner_is_the_best_of_all_labels(tmp_path: Path, num_labels: int) -> None:
    session = Case(tmp_path, "llama-tied", "int4", "throughput").session
    random = np.random.default_rng(num_labels)
    labels = {(10,), (11,), (12, 13)}
    while len(labels) < num_labels:
        labels.add(tuple(random.integers(10, 15, random.integers(1, 4))))
    trie = LabelTrie([[*map(int, label), 2] for label in sorted(labels)])
    is_eager = len(trie.inner_paths()) <= MAX_EAGER_PATHS
    assert is_eager == (num_labels == 3)
    rows = [random.integers(5, 90, length).tolist() for length in (1, 7, 3, 4)]
    session.forward([50, 60], 0)
    found = label_pack(session, trie, rows, 2)
    for row, answer in zip(rows, found, strict=True):
        scores = exhaustive_scores(
            trie, lambda path, row=row: log_softmax(session.forward([*row, *path], 2)[0])
        )
        assert answer.label == int(np.argmax(scores))
        assert answer.log_probability == pytest.approx(max(scores), abs=1e-3)


@pytest.mark.parametrize("precision", ["throughput", "exact"])
def test_all_labels_are_scored_where_they_are_asked_for(
    exported_throughput: Exported, precision: str
) -> None:
    tuned = opened(exported_throughput, precision)
    plain = tuned.classify_rows(TEXTS)
    found = tuned.classify_rows(TEXTS, with_all_scores=True)
    assert [row.label for row in found] == [row.label for row in plain]
    for text, row in zip(TEXTS, found, strict=True):
        expected = list(tuned.label_scores(text).values())
        assert row.all_scores == pytest.approx(expected, abs=1e-3)
        assert row.log_probability == max(row.all_scores)
        assert label_probabilities(row.all_scores).sum() == pytest.approx(1.0)


def test_packs_keep_the_order_and_the_limit() -> None:
    rows = [[0] * length for length in (3, 4, 2, 9, 1)]
    assert list(packs(rows, 7)) == [[0, 1], [2], [3], [4]]


def test_log_sum_exp_is_what_log_softmax_takes_off() -> None:
    logits = np.random.default_rng(0).normal(0, 9, (3, 500)).astype(np.float32)
    assert np.allclose(logits - log_sum_exp(logits), log_softmax(logits), atol=1e-5)
