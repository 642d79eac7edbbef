"""Labels are scored by the whole label and the end token, and the search never loses to it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from export.labels import LabelSearch, LabelTrie, exhaustive_scores, label_probabilities
from ptune_tui.engine import labelling
from ptune_tui.engine.generate import generate_greedily
from ptune_tui.engine.labelling import classify
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.prefix import Prefix
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.engine.step import prefix_of
from ptune_tui.worker.bench.prepare import write_float_model

END = 2
LABELS = [[50, END], [51, 52, END], [51, 53, END], [51, 52, 54, 55, END]]
ROWS = [[40, 41, 42], [43], [44, 45, 46, 47, 48, 49, 60], [61, 62], [63, 64, 65, 66]]


@pytest.fixture(scope="module")
def frozen(tiny_model: Path) -> FrozenModel:
    return load_frozen(tiny_model, "tiny", "int4", "cached")


@pytest.fixture(scope="module")
def prefix(frozen: FrozenModel) -> Prefix:
    torch.manual_seed(1)
    with torch.no_grad():
        prompt = VirtualTokens(0.2 * torch.randn(3, frozen.config.hidden_size))
        return prefix_of(frozen, prompt, [5, 6])


def plain_log_probabilities(frozen: FrozenModel, prefix: Prefix, ids: list[int]) -> torch.Tensor:
    """Next-token log-probabilities behind one unpadded row, through the cache of transformers."""
    cache = transformers_cache(prefix)
    positions = torch.arange(prefix.length, prefix.length + len(ids))[None]
    with torch.no_grad():
        output = frozen.network(
            input_ids=torch.tensor([ids]), past_key_values=cache, position_ids=positions
        )
    return output.logits[0, -1].double().log_softmax(-1)


def transformers_cache(prefix: Prefix) -> object:
    from transformers import DynamicCache

    cache = DynamicCache()
    for layer, (key, value) in enumerate(prefix.layers):
        cache.update(key.clone(), value.clone(), layer)
    return cache


def test_classify_finds_the_most_likely_whole_label(frozen: FrozenModel, prefix: Prefix) -> None:
    expected = []
    for row in ROWS:
        scores = [
            sum(
                float(plain_log_probabilities(frozen, prefix, row + label[:depth])[token])
                for depth, token in enumerate(label)
            )
            for label in LABELS
        ]
        expected.append(int(np.argmax(scores)))
    found = classify(frozen, prefix, ROWS, LabelTrie(LABELS))
    assert [row.label for row in found] == expected


@pytest.mark.parametrize("num_paths", [1, 2, 16])
def test_trees_find_what_round_after_round_finds(
    frozen: FrozenModel, prefix: Prefix, monkeypatch: pytest.MonkeyPatch, num_paths: int
) -> None:
    random = np.random.default_rng(2)
    labels = {tuple(random.integers(50, 53, size=random.integers(1, 6))) for _ in range(40)}
    trie = LabelTrie([[*map(int, label), END] for label in sorted(labels)])
    rows = [list(map(int, random.integers(40, 70, size=size))) for size in (3, 9, 1, 5, 4)]
    grown: list[int] = []

    def grow(*arguments: Any) -> None:
        grown.extend(arguments[3])
        grow_trees(*arguments)

    grow_trees = labelling._grow_trees
    monkeypatch.setattr(labelling, "_ROUNDS_PER_TOKEN", 0)
    monkeypatch.setattr(labelling, "_TREE_ROWS", 2)
    monkeypatch.setattr(labelling, "_TREE_PATHS", num_paths)
    monkeypatch.setattr(labelling, "_grow_trees", grow)
    found = classify(frozen, prefix, rows, trie)
    assert sorted(grown) == list(range(len(rows)))
    for row, answer in zip(rows, found, strict=True):
        known: dict[tuple[int, ...], np.ndarray] = {}

        def behind(path: tuple[int, ...], row: list[int] = row, known: dict = known) -> np.ndarray:
            if path not in known:
                known[path] = plain_log_probabilities(frozen, prefix, [*row, *path]).numpy()
            return known[path]

        assert answer.label == int(np.argmax(exhaustive_scores(trie, behind)))


def test_batched_greedy_answers_equal_row_by_row_ones(frozen: FrozenModel, prefix: Prefix) -> None:
    together = generate_greedily(frozen, prefix, ROWS, 6)
    for row, answer in zip(ROWS, together, strict=True):
        ids = list(row)
        for token in [*answer, None]:
            if len(ids) - len(row) == 6:
                break
            best = int(plain_log_probabilities(frozen, prefix, ids).argmax())
            assert best == (END if token is None else token)
            ids.append(best)


def test_the_search_agrees_with_scoring_every_label() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        labels = {tuple(random.integers(3, 7, size=random.integers(1, 4))) for _ in range(6)}
        trie = LabelTrie([[*map(int, label), END] for label in sorted(labels)])
        table: dict[tuple[int, ...], np.ndarray] = {}

        def behind(path: tuple[int, ...], table: dict = table) -> np.ndarray:
            if path not in table:
                logits = random.normal(size=8) * 3
                table[path] = logits - np.log(np.exp(logits).sum())
            return table[path]

        search = LabelSearch(trie, behind(()))
        num_asked = 0
        while (path := search.next_path()) is not None:
            search.feed(behind(path))
            num_asked += 1
        scores = exhaustive_scores(trie, behind)
        assert search.best == int(np.argmax(scores))
        assert search.scores[search.best] == pytest.approx(max(scores))
        assert num_asked <= len(table)


def test_labels_that_are_the_same_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="same tokens"):
        LabelTrie([[5, END], [5, END]])


def test_the_best_whole_label_wins_as_soon_as_it_beats_every_beginning() -> None:
    trie = LabelTrie([[5, END], [6, END], [7, END]])
    text = np.log(np.array([0.01, 0.01, 0.01, 0.01, 0.01, 0.9, 0.04, 0.01]))
    search = LabelSearch(trie, text)
    assert search.next_path() == (5,)
    search.feed(np.log(np.full(8, 0.125)))
    assert search.next_path() is None
    assert search.best == 0
    ordered = sorted(search.scores.values(), reverse=True)
    assert all(left >= right for left, right in pairwise(ordered))


def test_probabilities_equal_a_float64_brute_force_over_all_labels(
    frozen: FrozenModel, tmp_path: Path
) -> None:
    write_float_model(frozen.config, frozen.loaded.weights, tmp_path / "float")
    plain = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "float", dtype=torch.float64
    )
    prompt = VirtualTokens(0.2 * torch.randn(3, frozen.config.hidden_size))
    embed = plain.get_input_embeddings()

    def score(row: list[int], label: list[int]) -> float:
        """One label behind one row, on its own: nothing is shared, cached or padded."""
        tokens = embed(torch.tensor([5, 6, *row, *label]))
        whole = torch.cat([prompt.embeddings_PH.double(), tokens])[None]
        logits = plain(inputs_embeds=whole).logits[0].log_softmax(-1)
        first = 3 + 2 + len(row) - 1
        return float(sum(logits[first + depth, token] for depth, token in enumerate(label)))

    with torch.no_grad():
        expected = np.array([[score(row, label) for label in LABELS] for row in ROWS])
        prefix = prefix_of(frozen, prompt, [5, 6])
        trie = LabelTrie(LABELS)
        searches = labelling._search_batch(frozen, prefix, ROWS, trie, True)
        found = classify(frozen, prefix, ROWS, trie, with_probabilities=True)
    expected = np.exp(expected - expected.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    for row, search, answer in zip(expected, searches, found, strict=True):
        probabilities = label_probabilities(search.all_scores)
        assert probabilities.sum() == pytest.approx(1.0)
        assert probabilities == pytest.approx(row, rel=1e-4, abs=1e-7)
        assert answer.label == int(row.argmax())
        assert answer.probabilities == pytest.approx(row, rel=1e-4, abs=1e-7)


def test_every_label_is_scored_in_trees_and_round_after_round_alike(
    frozen: FrozenModel, prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    trie = LabelTrie(LABELS)
    with_trees = classify(frozen, prefix, ROWS, trie, with_probabilities=True)
    # What holds no `RowCache` cannot grow trees.
    monkeypatch.setattr(labelling, "RowCache", type("NoCache", (), {}))
    rounds = classify(frozen, prefix, ROWS, trie, with_probabilities=True)
    assert [row.label for row in with_trees] == [row.label for row in rounds]
    for left, right in zip(with_trees, rounds, strict=True):
        assert left.probabilities == pytest.approx(right.probabilities, rel=1e-4)
