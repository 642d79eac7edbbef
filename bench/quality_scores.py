"""Scores of a cell's answers, the rows they answer, and what a bag of words reaches on them.

BLEU is sacrebleu's corpus BLEU with all references of a meaning representation, lower-cased and
tokenised as mteval-v13a does, which is how the E2E challenge's own script computes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ptune_tui.metrics import accuracy, macro_f1


class Pair(NamedTuple):
    """A row of a data file."""

    prompt: str
    response: str


def read_pairs(path: Path) -> list[Pair]:
    """The rows of a JSONL file."""
    records = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [Pair(record["prompt"], record["response"]) for record in records]


def write_pairs(path: Path, pairs: list[Pair]) -> None:
    """Rows to a JSONL file."""
    lines = [json.dumps(pair._asdict(), ensure_ascii=False) + "\n" for pair in pairs]
    path.write_text("".join(lines), encoding="utf-8")


def label_scores(pairs: list[Pair], answers: list[str]) -> dict[str, float]:
    """Accuracy and macro-F1 of labels."""
    expected = [pair.response for pair in pairs]
    return {"accuracy": accuracy(expected, answers), "macro_f1": macro_f1(expected, answers)}


def bleu_scores(pairs: list[Pair], answers: list[str], references: Path) -> dict[str, float]:
    """BLEU, 0 to 100, of answers against all references of their prompts.

    Args:
        pairs (list[Pair]): The rows, one a prompt.
        answers (list[str]): One a row.
        references (Path): JSONL of `prompt` and `references`.
    """
    from sacrebleu.metrics import BLEU

    by_prompt: dict[str, list[str]] = {}
    for line in references.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        by_prompt.setdefault(record["prompt"], []).extend(record["references"])
    all_references = [by_prompt[pair.prompt] for pair in pairs]
    most = max(map(len, all_references))
    # One stream a reference; a row that has fewer gives None in the rest.
    streams = [
        [texts[number] if number < len(texts) else None for texts in all_references]
        for number in range(most)
    ]
    bleu = BLEU(lowercase=True, tokenize="13a")
    return {
        "bleu": bleu.corpus_score(answers, streams).score,
        "exact_match": accuracy([pair.response for pair in pairs], answers),
    }


def first_line(answer: str) -> str:
    """An answer without what an untuned base goes on to say."""
    return answer.strip().partition("\n")[0].strip()


def bag_of_words(train: list[Pair], test: list[Pair]) -> dict[str, list[str]]:
    """The answers of logistic regression over words and pairs of words, counted and by tf-idf."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    vectorizers = {
        "counts": CountVectorizer(ngram_range=(1, 2)),
        "tf-idf": TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
    }
    answers = {}
    for name, vectorizer in vectorizers.items():
        # tf-idf's features are of length one, so they want less regularisation.
        regression = LogisticRegression(C=30.0 if name == "tf-idf" else 1.0, max_iter=2000)
        model = make_pipeline(vectorizer, regression)
        model.fit([pair.prompt for pair in train], [pair.response for pair in train])
        answers[name] = list(map(str, model.predict([pair.prompt for pair in test])))
    return answers
