"""What other tasks find: learning rates, learning curves, parity, bundles, answers."""

from __future__ import annotations

from msgspec import Struct


class RateTried(Struct, frozen=True, tag=True):
    """One step of the range test of learning rates."""

    learning_rate: float  # in units of the method, as `--learning-rate` takes it
    loss: float  # smoothed


class RateProposed(Struct, frozen=True, tag=True):
    """What the range test proposes."""

    learning_rate: float  # in units of the method
    reason: str


class CurvePointMeasured(Struct, frozen=True, tag=True):
    """One training set of a learning curve was trained on and scored."""

    num_rows: int
    seed: int
    score: float  # accuracy, or exact match of free text
    seconds: float
    num_done: int  # points, those of an earlier worker included
    num_points: int


class ParityMeasured(Struct, frozen=True, tag=True):
    """The exported graph beside torch, on the same weights."""

    precision: str
    relative_error: float  # largest logit difference over the largest logit
    kl_divergence: float  # mean over positions, nats
    top1_agreement: float  # share of positions
    identical_texts: int  # greedy continuations that are the same
    num_texts: int
    passed: bool


class ExportDone(Struct, frozen=True, tag=True):
    """The bundle is in place.

    Attributes:
        path: Its folder.
        num_bytes: Of all its files.
        precision: What it answers in.
        seconds_per_answer: What an answer takes in each precision, where that chose it.
        read_bytes: Of graph and weights of each precision; some share weights.
    """

    path: str
    num_bytes: int
    precision: str = ""
    seconds_per_answer: dict[str, float] = {}
    read_bytes: dict[str, int] = {}


class TextAnswered(Struct, frozen=True, tag=True):
    """One of those that are compared has answered a text, or could not."""

    number: int  # of the text, as in `AskText`
    title: str
    computed_by: str
    answer: str
    seconds: float
    probabilities: dict[str, float] = {}  # of each label, where all were scored
    error: str = ""  # why there is no answer
    is_last: bool = False  # of this text


MeasuredEvent = (
    RateTried | RateProposed | CurvePointMeasured | ParityMeasured | ExportDone | TextAnswered
)
