"""Scores of free text against one or several references, by rouge-score and sacrebleu.

Legend: R resamples, N rows, K counts that a score is made of.
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ptune_tui.evaluation.bootstrap import FloatArray, Measure, weighted_mean
from ptune_tui.results import MetricName

References = Sequence[Sequence[str]]
# Thai, Lao, Burmese, Khmer, kana, Han.
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
MISSING_EXTRA = (
    "ROUGE-L, BLEU and chrF need the packages rouge-score and sacrebleu, which are not installed; "
    "only exact match is shown. Install `ptune-tui[eval]`: in ptune's clone, "
    "`pip install '.[eval]'`."
)


def has_text_metrics() -> bool:
    """Whether the packages of the extra `eval` are installed."""
    return all(importlib.util.find_spec(name) for name in ("rouge_score", "sacrebleu"))


def exact_matches(answers: Sequence[str], references: References) -> FloatArray:
    """1 where an answer is one of its references, white space around it ignored, else 0, [N]."""
    return np.array(
        [
            float(answer.strip() in {text.strip() for text in texts})
            for answer, texts in zip(answers, references, strict=True)
        ]
    )


def rouge_l(answers: Sequence[str], references: References) -> FloatArray:
    """ROUGE-L F1 of each answer with its best reference, by rouge-score over `words`, [N]."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    return np.array(
        [
            scorer.score_multi(list(texts), answer)["rougeL"].fmeasure
            for answer, texts in zip(answers, references, strict=True)
        ]
    )


def words(text: str) -> list[str]:
    """Lower-case words of a text, for ROUGE; characters in scripts that put no spaces between them.

    Of ASCII text they are rouge-score's own, which drops every other letter.
    """
    kept = "".join(
        char if unicodedata.category(char)[0] in "LMN" else " "
        for char in unicodedata.normalize("NFC", text).lower()
    )
    return _WITHOUT_SPACES.sub(r" \g<0> ", kept).split()


class _Words:
    """A tokenizer as rouge-score takes it."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@dataclass(frozen=True)
class CorpusScore:
    """BLEU or chrF of sacrebleu, of all rows or of resamples.

    A corpus score is made of counts that add up over rows, so each row is counted once, and a
    resample adds the counts of its rows.

    Attributes:
        metric: sacrebleu's.
        counts: int64 [N, K].
    """

    metric: Any
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, metric: Any, answers: Sequence[str], references: References) -> CorpusScore:
        """Count each row.

        Args:
            metric (Any): sacrebleu's, such as `BLEU()`.
            answers (Sequence[str]): One a row.
            references (References): One or several a row.
        """
        most = max(map(len, references))
        # One stream a reference; None where a row has fewer.
        streams = [
            [texts[number] if number < len(texts) else None for texts in references]
            for number in range(most)
        ]
        return cls(metric, np.array(metric._extract_corpus_statistics(list(answers), streams)))

    def __call__(self, weights: FloatArray) -> FloatArray:
        """The score, 0 to 100, of weights [R, N]."""
        sums_RK = np.rint(weights @ self.counts).astype(np.int64).tolist()
        return np.array([self.metric._compute_score_from_stats(sums).score for sums in sums_RK])


def text_measures(answers: Sequence[str], references: References) -> dict[MetricName, Measure]:
    """Every score of free text; exact match alone where the extra `eval` is missing.

    Args:
        answers (Sequence[str]): One a row.
        references (References): One or several a row.
    """
    measures: dict[MetricName, Measure] = {
        "exact_match": weighted_mean(exact_matches(answers, references))
    }
    if has_text_metrics():
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        measures["rouge_l"] = weighted_mean(rouge_l(answers, references))
        measures["bleu"] = CorpusScore.of(BLEU(force=True), answers, references)
        measures["chrf"] = CorpusScore.of(CHRF(), answers, references)
    return measures


def row_scores(answers: Sequence[str], references: References) -> tuple[MetricName, FloatArray]:
    """The score that two contenders are compared by, row by row: ROUGE-L, else exact match."""
    if has_text_metrics():
        return "rouge_l", rouge_l(answers, references)
    return "exact_match", exact_matches(answers, references)
