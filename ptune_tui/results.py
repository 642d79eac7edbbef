"""What `ptune eval` and `ptune learning-curve` found, as files of a run folder. Torch-free leaf.

The command line prints them, the app's Compare shows them and the report draws them: all three read
these structs, so a number stands in one place.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from ptune_tui.errors import DataError
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.tasks import write_atomically

EVALUATION_FILE = "evaluation.json"
LEARNING_CURVE_FILE = "learning_curve.json"

MetricName = Literal[
    "accuracy", "macro_f1", "calibration_error", "exact_match", "rouge_l", "bleu", "chrf"
]


class Metric(Struct, frozen=True):
    """One score and its 95 % interval; a share, BLEU and chrF of 100."""

    name: MetricName
    value: float
    low: float
    high: float


class ClassScore(Struct, frozen=True):
    """Scores of one label; shares from 0 to 1."""

    label: str
    precision: float
    recall: float
    f1: float
    num_rows: int  # whose expected label it is


class CalibrationBin(Struct, frozen=True):
    """Rows whose answer's probability lies in one of the equal bins of 0 to 1."""

    num_rows: int
    mean_probability: float
    accuracy: float


class ContenderScores(Struct, frozen=True):
    """One line of the table."""

    key: ContenderKey
    title: str  # as a reader sees it, such as "few-shot, 4 examples"
    computed_by: str  # such as "torch, cached" or "onnxruntime, fast"
    metrics: list[Metric]
    num_rows: int
    seconds: float
    detail: str = ""  # what it was given: the instruction, the examples' places
    class_scores: list[ClassScore] = []  # closed sets only, in the order of the labels
    confusion: list[list[int]] = []  # expected by answered, in the order of the labels
    calibration: list[CalibrationBin] = []
    num_cut_rows: int = 0  # whose prompt was cut from the left to fit

    def score(self, name: MetricName) -> float | None:
        """The value of a metric; None where it was not computed."""
        return next((metric.value for metric in self.metrics if metric.name == name), None)


class PairTest(Struct, frozen=True):
    """Whether one of two contenders is better on the same rows.

    Labels: McNemar's exact test. Free text: a paired permutation test of the mean of a score of
    each row; a row is then the first one's "only" where the first scores higher.
    """

    first: str  # titles of two lines of the table
    second: str
    num_first_only: int  # rows that only the first has right
    num_second_only: int
    p_value: float  # two-sided
    metric: MetricName = "accuracy"
    difference: float = 0.0  # of the metric, first minus second
    corrected_p: float | None = None  # by Holm, for all tests of the table; None where it is alone

    @property
    def decisive_p(self) -> float:
        """The p-value by which better is told."""
        return self.p_value if self.corrected_p is None else self.corrected_p


class Flip(Struct, frozen=True):
    """A row that two contenders answer differently."""

    row: int  # counted from 1
    prompt: str
    expected: str
    before: str  # the answer of `Evaluation.flips_from`, such as the base
    after: str  # of `Evaluation.flips_to`: the tuned prompt
    references: list[str] = []  # further right answers

    @property
    def is_gain(self) -> bool:
        """Whether the row is right only afterwards."""
        return self._is_right(self.after) and not self._is_right(self.before)

    @property
    def is_loss(self) -> bool:
        """Whether the row was right only before."""
        return self._is_right(self.before) and not self._is_right(self.after)

    def _is_right(self, answer: str) -> bool:
        return answer.strip() in {text.strip() for text in (self.expected, *self.references)}


class AnsweredRow(Struct, frozen=True):
    """A row, and what every line of the table answers."""

    row: int  # counted from 1
    prompt: str
    expected: str
    answers: list[str]  # in the order of `Evaluation.contenders`
    references: list[str] = []  # further right answers


class ForgettingProbe(Struct, frozen=True):
    """What the prompt costs elsewhere: a text's perplexity, or a fixed question."""

    name: str
    base: str  # perplexity with two decimals, or the answer
    tuned: str


class Evaluation(Struct, frozen=True):
    """A table: who answered a data set how well."""

    data: str  # as the user names it
    data_hash: str  # sha256 of its file, or of its files one behind the other; of a split, its own
    num_rows: int
    labels: list[str] | None  # None for free text
    contenders: list[ContenderScores]
    tests: list[PairTest]
    flips: list[Flip]  # labels: all rows that differ; free text: those that became right or wrong
    forgetting: list[ForgettingProbe]
    made_at: float  # seconds since the epoch
    version: str  # of ptune
    command: str  # that makes it again
    flips_from: str = ""  # titles of the two lines whose answers `flips` compares
    flips_to: str = ""
    notes: list[str] = []  # what was left out, and why
    prompt_hash: str = ""  # sha256 of a run's adapter when this was made; "" for a bundle
    answered: list[AnsweredRow] = []  # the first rows; see `evaluation.answered`

    def contender(self, title: str) -> ContenderScores | None:
        """The line of a title."""
        return next((line for line in self.contenders if line.title == title), None)


class LearningPoint(Struct, frozen=True):
    """The score of a prompt trained on the first rows of one shuffled order."""

    num_rows: int
    seed: int
    score: float
    seconds: float  # of training and scoring
    num_steps: int = 0


class LearningFit(Struct, frozen=True):
    """`ceiling - gain * rows ** -power` through the points, and what twice the rows would give."""

    ceiling: float
    gain: float
    power: float
    doubled_rows: int
    doubled_score: float
    low: float  # 95 % bootstrap interval of doubled_score
    high: float


class LearningCurve(Struct, frozen=True):
    """Score against rows."""

    metric: MetricName
    num_validation_rows: int
    points: list[LearningPoint]
    fit: LearningFit | None  # None where the points are too few
    verdict: str  # one sentence
    command: str  # that makes it again
    base_score: float | None = None  # without a prompt, on the same rows
    sizes: list[int] = []  # rows that were asked for; not all are in `points` where it was stopped
    num_seeds: int = 1


Result = TypeVar("Result", Evaluation, LearningCurve)


def write_result(path: Path, result: Evaluation | LearningCurve) -> None:
    """Write a result as indented JSON, whole or not at all.

    Raises:
        DataError: A number in it is not finite, which JSON cannot hold: nobody could read the file.
    """
    content = msgspec.json.encode(result)
    try:
        msgspec.json.decode(content, type=type(result))
    except msgspec.ValidationError as error:
        raise DataError(
            f"{path} is not written, a number is not finite: {error}",
            "What was there stays as it was.",
        ) from None
    write_atomically(path, msgspec.json.format(content, indent=1))


def finite(evaluation: Evaluation) -> Evaluation:
    """The table without the scores that some line has no finite number for, and a note of them.

    Args:
        evaluation (Evaluation): As it was computed.
    """
    lost = sorted(
        {
            metric.name
            for line in evaluation.contenders
            for metric in line.metrics
            if not all(map(math.isfinite, (metric.value, metric.low, metric.high)))
        }
    )
    if not lost:
        return evaluation
    lines = [
        msgspec.structs.replace(
            line, metrics=[metric for metric in line.metrics if metric.name not in lost]
        )
        for line in evaluation.contenders
    ]
    note = f"Left out, as it is no finite number for some line: {', '.join(lost)}."
    return msgspec.structs.replace(evaluation, contenders=lines, notes=[*evaluation.notes, note])


def read_evaluation(run: Path) -> Evaluation | None:
    """The table in a run folder, or None where none was made.

    Raises:
        DataError: It is damaged, or of another version.
    """
    return read_result(run / EVALUATION_FILE, Evaluation)


def read_learning_curve(run: Path) -> LearningCurve | None:
    """The learning curve in a run folder, or None where none was made.

    Raises:
        DataError: It is damaged, or of another version.
    """
    return read_result(run / LEARNING_CURVE_FILE, LearningCurve)


def read_result(path: Path, kind: type[Result]) -> Result | None:
    """A result of a file, or None where there is none.

    Args:
        path (Path): The file.
        kind (type[Result]): What it holds.

    Raises:
        DataError: It is damaged, or of another version.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is damaged or of another version of ptune: {error}",
            "Make it again, or delete it.",
        ) from None
