"""Near-duplicates against the Jaccard similarity of all pairs."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ptune_tui.data_check.minhash import minhashes
from ptune_tui.data_check.normal import normalise
from tests.data_check.conftest import Checker, places


def texts(seed: int, num_texts: int) -> list[str]:
    """Sentences, a third of them earlier ones with one to three words changed."""
    numbers = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(numbers.choices(letters, k=numbers.randint(2, 9))) for _ in range(300)]
    found: list[str] = []
    for _ in range(num_texts):
        if found and numbers.random() < 0.35:
            changed = numbers.choice(found).split()
            for _ in range(numbers.randint(1, 3)):
                changed[numbers.randrange(len(changed))] = numbers.choice(words)
        else:
            changed = numbers.choices(words, k=numbers.randint(8, 30))
        found.append(" ".join(changed))
    return found


def brute_force(texts: list[str]) -> np.ndarray:
    """The Jaccard similarity of all pairs, by products of the texts' rows of pieces."""
    pieces = [{text[start : start + 5] for start in range(len(text) - 4)} for text in texts]
    columns = {piece: column for column, piece in enumerate(set().union(*pieces))}
    has = np.zeros((len(texts), len(columns)), np.float32)
    for row, found in enumerate(pieces):
        has[row, [columns[piece] for piece in found]] = 1
    shared, sizes = has @ has.T, has.sum(axis=1)
    return shared / (sizes[:, None] + sizes - shared)


def test_nearly_all_rows_with_an_alike_earlier_row_are_found_and_no_others(
    check: Checker,
) -> None:
    prompts = texts(0, 600)
    similarity = brute_force(prompts)
    alike = {
        number
        for number, text in enumerate(prompts)
        if (similarity[number, :number] >= 0.8).any() and text not in prompts[:number]
    }
    report = check([(prompt, "x") for prompt in prompts]).report
    found = {line - 1 for _, line in places(report, "near-duplicate")}
    assert len(alike) > 40
    assert found <= alike
    assert len(found) >= 0.95 * len(alike)


def test_a_held_out_row_that_is_nearly_in_training_is_a_leak(check: Checker) -> None:
    text = "please tell me when the parcel that I ordered last week is going to arrive here"
    report = check(
        [(text, "x"), ("something else entirely, as it were", "y")],
        [(text.replace("week", "year"), "x"), ("a third text that is like no other", "y")],
    ).report
    assert places(report, "split-overlap-near") == [("validation", 1)]
    assert not places(report, "near-duplicate")


def test_minhashes_agree_as_often_as_texts_have_pieces_in_common() -> None:
    prompts = [normalise(text) for text in texts(1, 300)]
    minima, similarity = minhashes(prompts), brute_force(prompts)
    pairs = np.argwhere(np.tril(similarity > 0.3, -1))
    errors = [(minima[one] == minima[two]).mean() - similarity[one, two] for one, two in pairs]
    assert len(errors) > 50
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.1  # that of 32 draws at one half is 0.09


def test_prompts_whose_pieces_would_fill_memory_are_left_out(
    check: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = "the parcel came late", "the parcel came late, and nobody said a word about it"
    rows = [(short, "x"), (f"{short}s", "x"), (long, "x"), (f"{long}s", "x")]
    assert places(check(rows).report, "near-duplicate") == [("training", 2), ("training", 4)]
    monkeypatch.setattr("ptune_tui.data_check.near_duplicates.MAX_CHARACTERS", 40)
    assert places(check(rows).report, "near-duplicate") == [("training", 2)]
