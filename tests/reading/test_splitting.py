"""Rows held out: in scikit-learn's proportions, seeded, and no label leaves training."""

from __future__ import annotations

from collections import Counter

import pytest
from sklearn.model_selection import train_test_split

from ptune_tui.rows import Row
from ptune_tui.splitting import held_out_counts, split


def rows(counts: dict[str, int]) -> list[Row]:
    responses = [label for label, count in counts.items() for _ in range(count)]
    return [Row(f"prompt {n}", label, "f", n + 1) for n, label in enumerate(responses)]


def responses(found: list[Row]) -> Counter[str]:
    return Counter(row.response for row in found)


@pytest.mark.parametrize(
    "counts",
    [
        {"a": 500, "b": 500},
        {"ham": 880, "spam": 120},
        {"a": 333, "b": 333, "c": 334},
        {"a": 7001, "b": 1503, "c": 299, "d": 61, "e": 17},
        {f"l{n}": 31 + 2 * n for n in range(77)},
    ],
)
def test_each_label_is_held_out_as_often_as_scikit_learn_does(counts: dict[str, int]) -> None:
    all_rows = rows(counts)
    train, held_out = split(all_rows, sorted(counts), seed=0)
    expected = train_test_split(
        [row.response for row in all_rows],
        test_size=len(held_out),
        stratify=[row.response for row in all_rows],
        random_state=0,
    )[1]
    assert len(held_out) == len(all_rows) // 10
    assert sorted(train + held_out, key=lambda row: row.line) == all_rows
    found = responses(held_out)
    differences = [abs(found[label] - n) for label, n in Counter(expected).items()]
    # scikit-learn draws who gets the last rows where remainders are equal.
    assert max(differences) <= 1
    if len(set(counts.values())) == len(counts) < 10:
        assert max(differences) == 0


def test_the_seed_chooses_the_rows_and_not_the_counts() -> None:
    all_rows = rows({"a": 60, "b": 40})
    one, again, other = (split(all_rows, ["a", "b"], seed)[1] for seed in (1, 1, 2))
    assert one == again != other
    assert responses(one) == responses(other) == {"a": 6, "b": 4}


def test_a_label_with_two_rows_keeps_one_and_a_single_row_stays() -> None:
    counts = {"a": 2, "b": 2, "c": 1, "d": 1}
    for seed in range(20):
        train, held_out = split(rows(counts), sorted(counts), seed)
        assert len(held_out) == 1
        assert set(responses(train)) == set(counts)
    assert held_out_counts([2, 2, 1], 5) == [1, 1, 0]


def test_where_no_label_has_two_rows_one_is_held_out_all_the_same() -> None:
    train, held_out = split(rows({"a": 1, "b": 1}), ["a", "b"], seed=0)
    assert (len(train), len(held_out)) == (1, 1)


def test_free_text_is_split_without_labels() -> None:
    all_rows = rows({f"answer {n}": 1 for n in range(40)})
    train, held_out = split(all_rows, None, seed=0)
    assert (len(train), len(held_out)) == (36, 4)


@pytest.mark.parametrize("labels", [None, ["a", "b"]])
def test_rows_of_one_prompt_stay_together(labels: list[str] | None) -> None:
    all_rows = [Row(f"prompt {n % 50}", "ab"[n % 2], "f", n + 1) for n in range(100)]
    train, held_out = split(all_rows, labels, seed=0)
    assert (len(train), len(held_out)) == (90, 10)
    assert not {row.prompt for row in train} & {row.prompt for row in held_out}


def test_a_label_that_only_a_repeated_prompt_has_stays_in_training() -> None:
    all_rows = [*rows({"a": 20}), Row("prompt 0", "b", "f", 21)]
    for seed in range(30):
        train, _ = split(all_rows, ["a", "b"], seed)
        assert set(responses(train)) == {"a", "b"}


def test_rows_that_all_have_one_prompt_are_split_like_any_others() -> None:
    train, held_out = split([Row("p", f"{n}", "f", n) for n in range(20)], None, seed=0)
    assert (len(train), len(held_out)) == (18, 2)


def test_a_label_with_a_single_repeated_prompt_is_split_by_rows() -> None:
    all_rows = [Row("pq"[n % 2], "ab"[n % 2], "f", n + 1) for n in range(20)]
    train, held_out = split(all_rows, ["a", "b"], seed=0)
    assert responses(train) == {"a": 9, "b": 9}
    assert responses(held_out) == {"a": 1, "b": 1}
