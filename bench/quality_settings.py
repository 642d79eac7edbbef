"""What the quality table measures: tasks, their floors, and the settings that cells are made with.

A cell is one (task, method, seed, arithmetic). Change a setting here and `bench/quality.py --list`
shows the cells made with the old one as stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from ptune_tui.evaluation.lora_settings import ALPHA, LEARNING_RATE, RANK

Metric = Literal["accuracy", "macro_f1", "bleu"]
Arithmetic = Literal["fp32", "int8", "none"]
Setting = str | int | float | None

SEEDS = (0, 1, 2)
MAX_TRAINING_SECONDS = 600.0
NUM_SELECTION_ROWS = 256  # held out of the training rows, to choose the best step by
NUM_FREE_TEXT_SELECTION_ROWS = 16  # each is generated at every validation

# Methods that are not ours; one seed each.
LORA, BASE, FEW_SHOT, BAG_OF_WORDS = "lora", "base", "few-shot", "bag-of-words"
NUM_EXAMPLES = 5  # of the few-shot base


class Training(Struct, frozen=True):
    """How one of our methods is trained on a task.

    Attributes:
        num_virtual_tokens: P.
        max_steps: Optimiser steps.
        batch_size: Rows a step.
        learning_rate: In units of the method; None for the method's own.
        num_validations: The best of them is scored; with one it is the last step. The rate has
            come down to nothing by then, and among several the noise of a few hundred rows chooses.
        arithmetics: Of the products while training; scores are always exact.
        min_score: The floor, or None.
    """

    num_virtual_tokens: int
    max_steps: int
    batch_size: int
    learning_rate: float | None = None
    num_validations: int = 4
    arithmetics: tuple[Arithmetic, ...] = ("int8",)
    min_score: float | None = None


class Task(Struct, frozen=True):
    """One data set.

    Attributes:
        template: How a row becomes text.
        split: The file that is scored, without `.jsonl`.
        metric: What its score is.
        methods: Ours, by name; the first one is what LoRA gets the time of.
        aim: What would be good, or None.
        has_validation: Whether the best step is chosen on the validation split, which is not
            scored; otherwise on rows held out of the training rows.
    """

    template: str
    split: str
    metric: Metric
    methods: dict[str, Training]
    aim: float | None = None
    has_validation: bool = False

    @property
    def is_free_text(self) -> bool:
        """Whether answers are generated."""
        return self.metric == "bleu"


BOTH: tuple[Arithmetic, ...] = ("int8", "fp32")

TASKS = {
    "sst2": Task(
        template="Review: {prompt}\nSentiment:",
        split="validation",
        metric="accuracy",
        methods={
            "prefix": Training(20, 500, 32, min_score=0.90),
            "prompt": Training(50, 1000, 32, num_validations=1, min_score=0.89),
        },
        aim=0.922,
    ),
    "trec": Task(
        template="Question: {prompt}\nType:",
        split="test",
        metric="accuracy",
        methods={"prefix": Training(20, 500, 32, arithmetics=BOTH, min_score=0.93)},
    ),
    "ag_news": Task(
        template="News: {prompt}\nTopic:",
        split="test",
        metric="accuracy",
        methods={"prefix": Training(20, 400, 32, learning_rate=0.02, min_score=0.88)},
        has_validation=True,
    ),
    "sms_spam": Task(
        template="Message: {prompt}\nThis message is",
        split="test",
        metric="macro_f1",
        methods={"prefix": Training(20, 800, 32, learning_rate=0.02, min_score=0.97)},
        has_validation=True,  # one message in eight is spam: 256 rows hold too few to choose by
    ),
    "banking77": Task(
        template="Query: {prompt}\nIntent:",
        split="test",
        metric="accuracy",
        methods={"prefix": Training(20, 900, 32, min_score=0.83)},
        aim=0.90,
    ),
    "e2e_nlg": Task(
        template="{prompt}\nDescription:",
        split="test",
        metric="bleu",
        # Every validation would generate, and its exact match chooses nothing.
        methods={"prefix": Training(20, 500, 16, num_validations=1)},
    ),
}


class CellKey(Struct, frozen=True, order=True):
    """Which cell."""

    task: str
    method: str
    arithmetic: Arithmetic
    seed: int

    @property
    def name(self) -> str:
        """Of its file, without the ending."""
        return f"{self.task}-{self.method}-{self.arithmetic}-seed{self.seed}"

    @property
    def is_ours(self) -> bool:
        """Whether ptune trains it."""
        return self.method in TASKS[self.task].methods


def planned_cells() -> Iterator[CellKey]:
    """Every cell of the table, in the order in which they are made."""
    for name, task in TASKS.items():
        if not task.is_free_text:
            yield CellKey(name, BAG_OF_WORDS, "none", 0)
        yield CellKey(name, BASE, "fp32", 0)
        if task.is_free_text:
            yield CellKey(name, FEW_SHOT, "fp32", 0)
        for method, training in task.methods.items():
            for arithmetic in training.arithmetics:
                yield from (CellKey(name, method, arithmetic, seed) for seed in SEEDS)
        yield CellKey(name, LORA, "fp32", 0)


def timed_by(key: CellKey) -> CellKey:
    """The cell whose training time a LoRA cell gets."""
    method, training = next(iter(TASKS[key.task].methods.items()))
    return CellKey(key.task, method, training.arithmetics[0], SEEDS[0])


def settings_of(key: CellKey) -> dict[str, Setting]:
    """What a cell is made with, as it is stored."""
    task = TASKS[key.task]
    settings: dict[str, Setting] = {"template": task.template, "split": task.split}
    if task.has_validation:
        settings["chosen_on"] = "validation"
    if key.is_ours:
        training = msgspec.to_builtins(task.methods[key.method])
        kept = ("num_virtual_tokens", "max_steps", "batch_size", "learning_rate", "num_validations")
        settings |= {name: training[name] for name in kept}
    elif key.method == LORA:
        settings |= {"rank": RANK, "alpha": ALPHA, "learning_rate": LEARNING_RATE}
        settings["batch_size"] = task.methods[timed_by(key).method].batch_size
    elif key.method == FEW_SHOT:
        settings["num_examples"] = NUM_EXAMPLES
    elif key.method == BAG_OF_WORDS:
        settings = {"split": task.split}
    return settings
