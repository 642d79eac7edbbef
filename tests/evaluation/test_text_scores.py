"""Scores of free text equal rouge-score's and sacrebleu's, with one and several references."""

from __future__ import annotations

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize
from sacrebleu import corpus_bleu, corpus_chrf

from ptune_tui.evaluation import text_scores
from ptune_tui.evaluation.text_scores import rouge_l, text_measures, words

ANSWERS = [
    "The Mill is a cheap pub by the river .",
    "a coffee shop",
    "Zizzi serves food , and it is near Burger King .",
    "",
    "Aromi is not family friendly.",
]
REFERENCES = [
    ("The Mill is a low-priced pub by the river.", "A cheap riverside pub is The Mill ."),
    ("A coffee shop.", "a coffee shop", "some coffee shop"),
    ("Near Burger King, Zizzi serves food.",),
    ("Nothing is known.",),
    ("Aromi is family friendly.", "Aromi welcomes families."),
]
ONCE = np.ones((1, len(ANSWERS)))


def streams(rows: list[int]) -> list[list[str | None]]:
    return [
        [REFERENCES[row][number] if number < len(REFERENCES[row]) else None for row in rows]
        for number in range(3)
    ]


def test_bleu_and_chrf_equal_sacrebleu_s() -> None:
    measures = text_measures(ANSWERS, REFERENCES)
    rows = list(range(5))
    assert measures["bleu"](ONCE)[0] == pytest.approx(corpus_bleu(ANSWERS, streams(rows)).score)
    assert measures["chrf"](ONCE)[0] == pytest.approx(corpus_chrf(ANSWERS, streams(rows)).score)


def test_a_weighted_score_is_that_of_rows_taken_so_often() -> None:
    measures = text_measures(ANSWERS, REFERENCES)
    weights = np.random.default_rng(0).multinomial(5, [0.2] * 5, size=8).astype(float)
    for name, score in (("bleu", corpus_bleu), ("chrf", corpus_chrf)):
        for row, found in zip(weights.astype(int), measures[name](weights), strict=True):
            drawn = list(np.repeat(np.arange(5), row))
            expected = score([ANSWERS[number] for number in drawn], streams(drawn)).score
            assert found == pytest.approx(expected)


def test_rouge_l_is_that_of_the_best_reference() -> None:
    scorer = RougeScorer(["rougeL"])
    best = [
        max(scorer.score(text, answer)["rougeL"].fmeasure for text in texts)
        for answer, texts in zip(ANSWERS, REFERENCES, strict=True)
    ]
    found = text_measures(ANSWERS, REFERENCES)["rouge_l"](ONCE)[0]
    assert found == pytest.approx(sum(best) / 5)
    assert 0.3 < found < 1.0


def test_any_reference_is_an_exact_match() -> None:
    assert text_measures(ANSWERS, REFERENCES)["exact_match"](ONCE)[0] == pytest.approx(1 / 5)


def test_without_the_packages_only_exact_match_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_scores, "has_text_metrics", lambda: False)
    assert list(text_measures(ANSWERS, REFERENCES)) == ["exact_match"]
    name, scores = text_scores.row_scores(ANSWERS, REFERENCES)
    assert name == "exact_match"
    assert scores.sum() == 1


def test_words_of_ascii_are_rouge_score_s() -> None:
    random = np.random.default_rng(0)
    texts = ["".join(map(chr, random.integers(0, 128, size=60))) for _ in range(200)]
    for text in [*texts, "It's low-priced, £5_or 3.5!".replace("£", "")]:
        assert words(text) == tokenize(text, None)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("кошка сидит", "Кошка спит", 0.5),
        ("猫が寝る", "犬が寝る", 0.75),
        ("caf\u00e9 noir", "cafe\u0301 blanc", 0.5),
        ("बिल्ली सोती है", "बिल्ली खाती है", 2 / 3),
    ],
)
def test_rouge_l_scores_every_script(answer: str, reference: str, expected: float) -> None:
    assert rouge_l([answer], [[reference]])[0] == pytest.approx(expected)
