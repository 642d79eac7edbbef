"""Duplicates, leaks and conflicts against a plain search over all rows."""

from __future__ import annotations

import json
import random
import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ptune_tui.config import DataConfig
from ptune_tui.data_check import groups
from ptune_tui.data_check.check import Check
from ptune_tui.data_check.key_file import KeyFile
from ptune_tui.data_check.normal import normalise
from ptune_tui.data_check.source import SplitFile
from tests.data_check.conftest import Checker, Pairs, codes, places

WORDS = [
    "red",
    "Red",
    "green",
    "blue!",
    "blue",
    "cat",
    "dog's",
    "dogs",
    "eats",
    "sleeps",
    "up-side",
]


def plain_normal(text: str) -> str:
    """Another way to the same: a regular expression over single characters."""
    return " ".join(re.sub(r"[^a-z0-9]", " ", text.lower().replace("'", "")).split())


def random_rows(seed: int, num_rows: int) -> list[tuple[str, str]]:
    numbers = random.Random(seed)
    return [
        (" ".join(numbers.choices(WORDS, k=numbers.randint(1, 3))), numbers.choice("xyz"))
        for _ in range(num_rows)
    ]


def test_duplicates_are_those_of_a_plain_search(check: Checker) -> None:
    rows = random_rows(1, 400)
    exact, normal = [], []
    for number, (prompt, response) in enumerate(rows):
        if (prompt, response) in rows[:number]:
            exact.append(("training", number + 1))
        elif (plain_normal(prompt), response) in [(plain_normal(p), r) for p, r in rows[:number]]:
            normal.append(("training", number + 1))
    report = check(rows).report
    assert exact
    assert normal
    assert places(report, "duplicate") == exact
    assert places(report, "duplicate-normalised") == normal


def test_leaks_are_those_of_a_plain_search(check: Checker) -> None:
    train, validation, test = (random_rows(seed, 60) for seed in (1, 2, 3))
    report = check(train, validation, test).report
    exact, normal = [], []
    for name, rows, earlier in (
        ("validation", validation, [train]),
        ("test", test, [train, validation]),
    ):
        for number, (prompt, _) in enumerate(rows, start=1):
            # What is in training counts there, and only what is not is looked for in validation.
            like = next(
                (
                    [p for p, _ in split if plain_normal(p) == plain_normal(prompt)]
                    for split in earlier
                    if any(plain_normal(p) == plain_normal(prompt) for p, _ in split)
                ),
                None,
            )
            if like is not None:
                (exact if prompt in like else normal).append((name, number))
    assert exact
    assert normal
    assert places(report, "split-overlap") == exact
    assert places(report, "split-overlap-normalised") == normal


def test_leaked_training_rows_are_the_ones_that_fix_drops(check: Checker) -> None:
    train: Pairs = [("one", "x"), ("Two?", "x"), ("three", "y"), ("two", "y"), ("four", "y")]
    assert check(train, [("TWO", "x"), ("four", "y")]).dropped == {1, 3, 4}


def test_conflicts_differ_from_the_first_row_of_their_prompt(check: Checker) -> None:
    rows = random_rows(4, 300)
    first: dict[str, str] = {}
    expected = []
    for number, (prompt, response) in enumerate(rows, start=1):
        if first.setdefault(plain_normal(prompt), response) != response:
            expected.append(("training", number))
    assert places(check(rows).report, "conflict") == expected


def test_several_answers_to_a_prompt_are_no_conflict_in_free_text(check: Checker) -> None:
    rows: Pairs = [("tell me", "a story"), ("tell me", "a joke"), ("other", "thing")]
    report = check(rows, config=DataConfig(scoring="text")).report
    assert places(report, "repeated-prompt") == [("training", 2)]
    assert "conflict" not in codes(report)


def test_texts_whose_hashes_collide_are_not_reported(
    check: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "hash", lambda _: 7, raising=False)
    rows: Pairs = [("one", "x"), ("two", "x"), ("three", "y"), ("one", "x")]
    report = check(rows).report
    assert places(report, "duplicate") == [("training", 4)]
    assert codes(report) <= {"duplicate", "rare-label"}


@pytest.mark.parametrize(
    ("left", "right", "is_same"),
    [
        ("Don't  stop!", "dont stop", True),
        ("top-up", "Top up", True),
        ("CAFÉ", "cafe\u0301", True),
        ("ｆｕｌｌ", "full", True),
        ("3*4", "3/4", False),
        ("C#", "C", False),
        ("?!", "...", False),
        ("1.5", "15", False),
    ],
)
def test_normalising_overlooks_what_a_reader_does(left: str, right: str, is_same: bool) -> None:
    assert (normalise(left) == normalise(right)) is is_same


@pytest.mark.parametrize("part_bytes", [1 << 20, 300])
def test_shared_keys_stand_together_also_in_several_parts(
    part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptune_tui.data_check.key_file._PART_BYTES", part_bytes)
    numbers = np.random.default_rng(0)
    # As hashes are: high bits and low bits both vary.
    keys = numbers.integers(0, 1 << 63, 40, np.uint64)[numbers.integers(0, 40, 500)]
    keys[:20] = numbers.integers(0, 1 << 63, 20, np.uint64)
    expected = {
        int(key): np.flatnonzero(keys == key).tolist() for key in keys if (keys == key).sum() > 1
    }
    with closing(KeyFile()) as file:
        file.add(keys[:200], np.arange(200, dtype=np.uint32))
        file.add(keys[200:], np.arange(200, 500, dtype=np.uint32))
        found: dict[int, list[int]] = {}
        for part, rows in file.sorted_parts():
            assert not set(part.tolist()) & found.keys()
            for key, row in zip(part.tolist(), rows.tolist(), strict=True):
                found.setdefault(key, []).append(row)
    assert found == expected


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["trec", "banking77", "sst2", "sms_spam"])
def test_real_sets_have_the_leaks_and_duplicates_of_a_plain_search(
    real_data: Path, name: str
) -> None:
    import json

    from ptune_tui.data_check.check import Check
    from ptune_tui.data_check.source import SplitFile

    files = {split: real_data / name / f"{split}.jsonl" for split in ("train", "test")}
    rows = {
        split: [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for split, path in files.items()
    }
    pair = [SplitFile("training", files["train"]), SplitFile("test", files["test"])]
    report = Check(pair, DataConfig(), None, 5, lambda *_: None).run().report
    counts = {found.code: found.counts for found in report.findings}
    train = [row["prompt"] for row in rows["train"]]
    leaked = sum(row["prompt"] in set(train) for row in rows["test"])
    assert counts.get("split-overlap", {}).get("test", 0) == leaked
    if name == "trec":
        assert leaked == 9  # as the set's own description says
    pairs = [(row["prompt"], row["response"]) for row in rows["train"]]
    duplicates = len(pairs) - len(set(pairs))
    assert counts.get("duplicate", {}).get("training", 0) == duplicates


def test_a_leak_that_no_training_row_causes_is_an_error_that_fix_leaves(check: Checker) -> None:
    train = [(f"row {number}", "a") for number in range(5)]
    from_validation = check(train, [("shared", "a")], [("shared", "a")])
    assert from_validation.num_errors_left == 1
    from_training = check([*train, ("shared", "a")], [("shared", "a")])
    assert from_training.report.num_of("error") == 1
    assert from_training.num_errors_left == 0


def test_rows_of_a_json_file_in_one_line_are_told_apart_by_their_items(tmp_path: Path) -> None:
    rows = [{"prompt": f"text number {n % 5}", "response": "a"} for n in range(6)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([*rows, {"prompt": "", "response": "b"}]), encoding="utf-8")
    report = Check(
        [SplitFile("training", path)], DataConfig(train=str(path)), None, 5, lambda *_: None
    ).run()
    found = {place.code: place for code in report.report.findings for place in code.places}
    duplicate = found["duplicate"]
    assert duplicate.place == f"{path}:1, item 6"
    assert duplicate.message == "the same prompt and response as item 1."
    assert found["empty"].place == f"{path}:1, item 7"
