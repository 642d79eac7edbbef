"""Results of every kind, as `ptune eval` and `ptune learning-curve` would write them: made up."""

from __future__ import annotations

import random

from ptune_tui.inspection import (
    Inspection,
    LayerFindings,
    NearToken,
    PartScore,
    TokenFindings,
)
from ptune_tui.results import (
    AnsweredRow,
    CalibrationBin,
    ClassScore,
    ContenderKey,
    ContenderScores,
    Evaluation,
    Flip,
    ForgettingProbe,
    LearningCurve,
    LearningFit,
    LearningPoint,
    Metric,
    PairTest,
)

TITLES: dict[ContenderKey, str] = {
    "base": "base, zero-shot",
    "instruction": "hand-written instruction",
    "few_shot": "few-shot, 4 examples",
    "tuned": "tuned prompt",
    "bundle": "tuned prompt, exported bundle",
    "lora": "LoRA r=8, same time",
}
ACCURACIES: dict[ContenderKey, float] = {
    "base": 0.795,
    "instruction": 0.812,
    "few_shot": 0.748,
    "tuned": 0.901,
    "bundle": 0.899,
    "lora": 0.873,
}


def confusion(labels: list[str], accuracy: float, rows: int, seed: int) -> list[list[int]]:
    """Expected by answered, with about an accuracy."""
    draw = random.Random(seed)
    counts = [[0] * len(labels) for _ in labels]
    for _ in range(rows):
        expected = draw.randrange(len(labels))
        wrong = draw.randrange(len(labels))
        counts[expected][expected if draw.random() < accuracy else wrong] += 1
    return counts


def class_scores(labels: list[str], counts: list[list[int]]) -> list[ClassScore]:
    """Of a confusion matrix."""
    found = []
    for number, label in enumerate(labels):
        right, expected = counts[number][number], sum(counts[number])
        answered = sum(row[number] for row in counts)
        precision, recall = right / max(1, answered), right / max(1, expected)
        f1 = 2 * precision * recall / max(1e-9, precision + recall)
        found.append(ClassScore(label, precision, recall, f1, expected))
    return found


def contender(key: ContenderKey, labels: list[str], seed: int) -> ContenderScores:
    """One line of the table."""
    accuracy = ACCURACIES[key]
    counts = confusion(labels, accuracy, 872, seed)
    bins = [
        CalibrationBin(10 + 20 * number, (number + 0.5) / 10, min(1.0, 0.1 * number + accuracy / 9))
        for number in range(4, 10)
    ]
    return ContenderScores(
        key=key,
        title=TITLES[key],
        computed_by="onnxruntime, fast" if key == "bundle" else "torch, cached",
        metrics=[
            Metric("accuracy", accuracy, accuracy - 0.021, accuracy + 0.019),
            Metric("macro_f1", accuracy - 0.004, accuracy - 0.027, accuracy + 0.016),
            Metric("calibration_error", 1 - accuracy, 0.9 - accuracy, 1.05 - accuracy),
        ],
        num_rows=872,
        seconds=20.0 + seed,
        detail="Is this review positive or negative?" if key == "instruction" else "",
        class_scores=class_scores(labels, counts),
        confusion=counts,
        calibration=bins,
    )


def evaluation(labels: list[str] | None = None, texts: list[str] | None = None) -> Evaluation:
    """A table with every contender, every kind of flip, and a forgetting probe.

    Args:
        labels (list[str] | None): The closed set; None for two.
        texts (list[str] | None): Prompts of the flips; None for short ones.
    """
    labels = labels or ["negative", "positive"]
    texts = texts or [f"an unexpectedly moving film, number {number}" for number in range(70)]
    flips = [
        Flip(7 * number + 1, text, labels[0], labels[number % 2], labels[1 - number % 2])
        for number, text in enumerate(texts)
    ]
    flips.append(Flip(871, "neither", labels[0], "maybe", "perhaps"))
    turned = {flip.row: flip for flip in flips}
    rows = [
        turned.get(number)
        or Flip(number, f"a film, number {number}", labels[number % 2], labels[0], labels[0])
        for number in range(1, 41)
    ]
    return Evaluation(
        data="validation.jsonl",
        data_hash="0c6a1f7e" * 8,
        num_rows=872,
        labels=labels,
        contenders=[contender(key, labels, number) for number, key in enumerate(TITLES)],
        tests=[
            PairTest(TITLES["tuned"], TITLES["base"], 122, 30, 2.1e-14, difference=0.106),
            PairTest(TITLES["tuned"], TITLES["lora"], 61, 37, 0.0196, difference=0.028),
            PairTest(TITLES["tuned"], TITLES["bundle"], 5, 3, 0.727, difference=0.002),
        ],
        flips=flips,
        forgetting=[
            ForgettingProbe("perplexity of a page of prose", "18.42", "21.07"),
            ForgettingProbe("What is the capital of France?", "Paris.", "positive"),
        ],
        made_at=1_795_700_000.0,
        version="0.1.0",
        command="ptune eval my-run --data validation.jsonl",
        answered=[
            AnsweredRow(row.row, row.prompt, row.expected, _everybody(row, labels[1]))
            for row in rows
        ],
    )


def _everybody(row: Flip, label: str) -> list[str]:
    """The flip's answers for base and tuned prompt, the tuned ones for the bundle."""
    known = {"base": row.before, "tuned": row.after, "bundle": row.after}
    return [known.get(key, label) for key in TITLES]


def learning_curve() -> LearningCurve:
    """Three seeds at six numbers of rows, with a fit."""
    draw = random.Random(5)
    points = [
        LearningPoint(rows, seed, 0.93 - 0.7 * rows**-0.45 + draw.uniform(-0.012, 0.012), 30.0)
        for rows in (16, 32, 64, 128, 256, 512)
        for seed in range(3)
    ]
    return LearningCurve(
        metric="accuracy",
        num_validation_rows=256,
        points=points,
        fit=LearningFit(0.93, 0.7, 0.45, 1024, 0.899, 0.886, 0.911),
        verdict="Twice the rows (1024) would give about 0.899, 0.007 more than 512 rows did.",
        command="ptune learning-curve --run my-run --sizes 16,32,64,128,256,512 --seeds 3",
        base_score=0.795,
    )


def inspection() -> Inspection:
    """Of four virtual tokens on 60 rows."""
    near = [NearToken(7, " parcel", 0.61), NearToken(8, "<b>", 0.42)]
    everything = [0, 1, 2, 3]
    return Inspection(
        prompt="my-run",
        model="smollm2-135m-instruct",
        has_layers=False,
        vocabulary_norm=2.9,
        data="validation.jsonl",
        num_rows=60,
        tokens=[TokenFindings(1.0 + n, near, None, None, 0.05, 0.1 * n) for n in everything],
        layers=[LayerFindings(0.2, 0.6, None, None)] * 2,
        whole=PartScore(everything, 0.2, 0.9),
        base=PartScore([], 2.1, 0.3),
        without=[
            PartScore([m for m in everything if m != n], 0.25 + 0.1 * n, 0.8) for n in everything
        ],
        first=[PartScore([0], 1.5, 0.4), PartScore([0, 1], 0.9, 0.6)],
        command="ptune inspect my-run --rows 60",
    )
