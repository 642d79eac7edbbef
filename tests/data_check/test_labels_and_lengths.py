"""Labels counted, and tokens as training counts them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ptune_tui.config import DataConfig
from ptune_tui.data import encode_rows, prompt_limit
from ptune_tui.errors import DataError
from ptune_tui.rows import Row
from ptune_tui.tokenizer_card import TokenizerCard
from tests.data_check.conftest import Checker, codes, places


def labelled(**counts: int) -> list[tuple[str, str]]:
    rows = [label for label, count in counts.items() for _ in range(count)]
    return [(f"prompt {number} of {label}", label) for number, label in enumerate(rows)]


def test_labels_are_counted_by_split(check: Checker) -> None:
    train, validation = labelled(ham=30, spam=12), labelled(spam=3, ham=2)
    report = check(train, validation).report
    for split, rows in zip(report.splits, (train, validation), strict=True):
        counted = {found.label: found.num_rows for found in split.labels or []}
        assert counted == Counter(response for _, response in rows)
    assert not codes(report) & {"imbalance", "rare-label", "unknown-label", "missing-label"}


def test_what_is_wrong_with_labels_is_said(check: Checker) -> None:
    checked = check(
        labelled(ham=60, spam=5, rare=1, Ham=2), labelled(ham=2, eggs=1, spam=1), labelled(ham=3)
    )
    report = checked.report
    assert places(report, "unknown-label") == [("validation", 3)]
    assert places(report, "rare-label") == [("training", 66)]
    assert places(report, "label-variant") == [("training", 67)]
    assert places(report, "imbalance") == [("training", 0)]
    assert places(report, "missing-label") == [("validation", 0), ("test", 0), ("test", 0)]
    assert checked.commoner_label == {"Ham": "ham"}


def test_free_text_has_no_labels(check: Checker) -> None:
    rows = [(f"prompt {number}", f"answer {number}") for number in range(300)]
    report = check(rows, [rows[0], ("new", "text")]).report
    assert [split.labels for split in report.splits] == [None, None]
    assert "unknown-label" not in codes(report)


def test_tokens_and_cuts_are_those_of_training(check: Checker, card: TokenizerCard) -> None:
    numbers = np.random.default_rng(0)
    words = ["the", "cat", "and", "dog", "red", "ünï", "one"]
    train = [
        (" ".join(numbers.choice(words, size)), ["red one", "cat"][size % 2])
        for size in numbers.integers(1, 40, 50)
    ]
    config = DataConfig(max_tokens=48)
    report = check(train, train[:7], card=card, config=config).report
    rows = [Row(prompt, response, "", 0) for prompt, response in train]
    encoder = card.encoder(None, is_free_text=False)
    limit, _ = prompt_limit(rows, encoder, config.max_tokens)
    whole, cut = encode_rows(rows, encoder, 10_000), encode_rows(rows, encoder, limit)
    tokens = report.splits[0].tokens
    assert tokens is not None
    for found, lengths in (
        (tokens.prompt, [len(row.prompt_ids) for row in whole]),
        (tokens.response, [len(row.response_ids) for row in whole]),
        (tokens.row, [row.num_tokens for row in whole]),
    ):
        p50, p95 = np.percentile(lengths, [50, 95], method="inverted_cdf")
        assert (found.p50, found.p95, found.longest) == (p50, p95, max(lengths))
        assert abs(found.mean - np.mean(lengths)) < 1e-9
    expected = [("training", line) for line, row in enumerate(cut, start=1) if row.was_cut]
    assert 0 < len(expected) < len(train)
    assert tokens.num_cut == len(expected)
    assert [place for place in places(report, "truncated") if place[0] == "training"] == expected


def test_responses_that_leave_no_room_are_errors_and_decide_nothing(
    check: Checker, card: TokenizerCard
) -> None:
    rows = [(f"the cat {number}", f"a dog {number}") for number in range(20)]
    rows[3] = ("the cat", "and the dog " * 12)
    rows[5] = ("the cat", "and the dog " * 6)
    config = DataConfig(max_tokens=32, scoring="text", template="{prompt}\n")
    checked = check(rows, card=card, config=config)
    assert places(checked.report, "response-too-long") == [("training", 4)]
    assert places(checked.report, "long-response") == [("training", 6)]
    assert checked.dropped == {3}
    assert not places(checked.report, "truncated")


def test_more_labels_than_can_be_kept_are_refused_as_such(
    check: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptune_tui.data_check.labels.MOST_LABELS_AS_ASKED", 5)
    rows = [(f"prompt {number}", f"answer {number}") for number in range(9)]
    config = DataConfig(scoring="labels")
    assert len(check(rows[:5], config=config).report.splits[0].labels or []) == 5
    with pytest.raises(DataError, match="more than 5 different responses"):
        check(rows, config=config)


def test_a_variant_that_held_out_rows_use_is_not_for_fix(check: Checker) -> None:
    checked = check(labelled(ham=9, Ham=2, HAM=1), labelled(Ham=1, ham=1))
    assert checked.commoner_label == {"HAM": "ham"}
    found = next(found for found in checked.report.findings if found.code == "label-variant")
    assert [place.fix == "nothing" for place in found.places] == [True, False]
    assert "validation has it, too" in found.places[0].message
