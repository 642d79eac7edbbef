"""What `ptune bench run` measures: answering, ours beside other programs. Torch-free.

Every contender is a process of its own that holds the same base; they take turns, measure by
measure, and the others wait. A contender is called by its side and variant: `ptune:fast`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec
from msgspec import Struct

Side = Literal["ptune", "genai", "llama.cpp", "llama-cpp-python", "transformers"]
Measure = Literal["decode", "prefill", "first-token", "swap", "scoring", "load", "memory", "disk"]
Unit = Literal["tokens/s", "rows/s", "s", "bytes"]

SIDES: tuple[str, ...] = get_args(Side)
MEASURES: tuple[Measure, ...] = get_args(Measure)
# In a process of their own each time: nothing is loaded yet.
COLD_MEASURES: tuple[Measure, ...] = ("load", "memory")
# The variants of ours are the graphs that the bundle has.
RIVALS: tuple[tuple[Side, str], ...] = (
    ("genai", "int4"),
    ("llama.cpp", "file"),
    ("llama.cpp", "Q4_0"),
    ("llama.cpp", "Q4_K_M"),
    ("llama-cpp-python", "file"),
    ("llama-cpp-python", "Q4_0"),
    ("llama-cpp-python", "Q4_K_M"),
    ("transformers", "fp32"),
)
SCORED_AGAINST = "transformers fp32"  # whose labels ours are compared with
SHORT_TOKENS = 16  # of the prompt that decoding goes on behind
# Of the answer during which memory is measured.
MEMORY_TOKENS = 128
MEMORY_NEW_TOKENS = 32
VIRTUAL_LENGTHS = (0, 20, 100)
SCORED_VIRTUAL_TOKENS = 20
UNSTEADY = 1.5  # largest over smallest value of a figure


class AnsweringSetting(Struct, frozen=True):
    """What is measured.

    Attributes:
        model: What `--model` was given.
        bundle: The bundle that ours answers from; None to make one of the model.
        data: A data file or a built-in set: texts to read, rows to score.
        num_rows: Rows that are scored.
        num_new_tokens: Tokens that are decoded behind a short prompt.
        prefill_lengths: Tokens of the prompts that are read.
        num_rounds: Rounds that count.
        num_threads: Processor threads; 0: all cores.
        measures: What to measure.
        contenders: Sides (`llama.cpp`) or single contenders (`llama.cpp:Q4_0`); empty for all.
        template: How a row becomes text; None for the set's own or a line of its own.
        prompt_field: Name of the input column; None: recognised.
        response_field: Name of the answer column.
    """

    model: str = "default"
    bundle: str | None = None
    data: str = "support_inbox"
    num_rows: int = 64
    num_new_tokens: int = 64
    prefill_lengths: tuple[int, ...] = (128, 512)
    num_rounds: int = 5
    num_threads: int = 0
    measures: tuple[Measure, ...] = MEASURES
    contenders: tuple[str, ...] = ()
    template: str | None = None
    prompt_field: str | None = None
    response_field: str = "response"

    def has(self, side: str, variant: str | None = None) -> bool:
        """Whether a contender takes part, or with no variant any of its side."""
        if not self.contenders:
            return True
        if variant is None:
            return any(name.partition(":")[0] == side for name in self.contenders)
        return side in self.contenders or f"{side}:{variant}" in self.contenders


class Figure(Struct, frozen=True):
    """One figure of one contender.

    Attributes:
        name: What it is of: `decode`, `prefill 128`, `first token P=20`, ...
        unit: Of tokens and rows a second more is better, of seconds and bytes less.
        values: One a round.
        median: Of the values.
    """

    name: str
    unit: Unit
    values: tuple[float, ...]
    median: float

    @property
    def is_unsteady(self) -> bool:
        """Whether its rounds differ so much that other programs must have had the processor."""
        return max(self.values) > UNSTEADY * min(self.values)


class AnsweringContender(Struct, frozen=True, kw_only=True):
    """One contender's figures; where `unavailable` is set, there are none.

    Attributes:
        side: Ours or whose.
        variant: The graph, the file's type or the precision.
        unavailable: Why it could not run.
        hint: What to do about that.
        computed_by: Version, file and settings.
        figures: In the order of the measures.
        label_agreement: Share of the scored rows that get the label that transformers gives them.
    """

    side: Side
    variant: str
    unavailable: str | None = None
    hint: str | None = None
    computed_by: str | None = None
    figures: tuple[Figure, ...] = ()
    label_agreement: float | None = None

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.side} {self.variant}"

    def figure(self, name: str) -> Figure | None:
        """The figure of a name, or None."""
        return next((figure for figure in self.figures if figure.name == name), None)


class Ratio(Struct, frozen=True):
    """A figure of ours over the same figure of another.

    Attributes:
        figure: Name of the figure.
        ours: Name of our contender.
        theirs: Name of the other.
        ratio: Of the medians.
        lowest: Of the ratios round by round.
        highest: Of the ratios round by round.
    """

    figure: str
    ours: str
    theirs: str
    ratio: float
    lowest: float
    highest: float


class AnsweringSpeed(Struct, frozen=True):
    """What a bench found.

    Attributes:
        setting: What was measured, with threads and model as they were.
        contenders: Ours first.
        ratios: Of ours to the others, and of a soft prompt to none.
        labels: The two that rows were scored by; empty where none were.
        mean_row_tokens: Mean length of the scored rows, virtual tokens not counted.
        processor: The processor's name, or None.
        versions: Of the packages that compute.
        weights_hash: sha256 of the frozen weights.
    """

    setting: AnsweringSetting
    contenders: tuple[AnsweringContender, ...]
    ratios: tuple[Ratio, ...]
    labels: tuple[str, ...]
    mean_row_tokens: float
    processor: str | None
    versions: dict[str, str]
    weights_hash: str


def make_figure(name: str, unit: Unit, values: Sequence[float]) -> Figure:
    """A figure with its median.

    Args:
        name (str): What it is of.
        unit (Unit): Its unit.
        values (Sequence[float]): One a round.
    """
    return Figure(name, unit, tuple(values), statistics.median(values))


def make_ratios(contenders: Iterable[AnsweringContender]) -> tuple[Ratio, ...]:
    """Ratios of ours to each other contender, and of each soft prompt to none.

    Args:
        contenders (Iterable[AnsweringContender]): Measured, or unavailable.
    """
    every = list(contenders)
    found: list[Ratio] = []
    for ours in (item for item in every if item.side == "ptune"):
        without = ours.figure(first_token_name(0))
        for figure in ours.figures:
            for theirs in (item for item in every if item.side != "ptune"):
                other = theirs.figure(figure.name)
                if other is not None:
                    found.append(_ratio(figure, ours.name, other, theirs.name))
            if without is not None and figure.name in map(first_token_name, VIRTUAL_LENGTHS[1:]):
                found.append(_ratio(figure, ours.name, without, f"{ours.name} P=0"))
    return tuple(found)


def first_token_name(num_virtual_tokens: int) -> str:
    """Name of the figure of a first token behind a soft prompt of a length."""
    return f"first token P={num_virtual_tokens}"


def _ratio(figure: Figure, ours: str, other: Figure, theirs: str) -> Ratio:
    by_round = [mine / his for mine, his in zip(figure.values, other.values, strict=True)]
    ratio = figure.median / other.median
    return Ratio(figure.name, ours, theirs, ratio, min(by_round), max(by_round))


def with_agreement(
    contender: AnsweringContender, answers: dict[str, list[str]]
) -> AnsweringContender:
    """The contender with the share of its labels that are those of transformers.

    Args:
        contender (AnsweringContender): Measured.
        answers (dict[str, list[str]]): Every contender's label for each row, by its name.
    """
    mine, theirs = answers.get(contender.name), answers.get(SCORED_AGAINST)
    if not mine or not theirs or contender.name == SCORED_AGAINST:
        return contender
    num_same = sum(one == other for one, other in zip(mine, theirs, strict=True))
    return msgspec.structs.replace(contender, label_agreement=num_same / len(mine))
