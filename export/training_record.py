"""What a model card tells of a prompt: how it was made, and what it scored."""

from __future__ import annotations

import msgspec


class CardMetric(msgspec.Struct, frozen=True):
    """One score and its 95 % interval.

    Attributes:
        name: As model cards name metrics: `accuracy`, `f1`, `exact_match`, ...
        title: As a reader sees it.
        value: A share, or of 100.
        low: Lower end of the interval.
        high: Upper end of it.
    """

    name: str
    title: str
    value: float
    low: float
    high: float


class CardLine(msgspec.Struct, frozen=True):
    """One contender's scores.

    Attributes:
        title: Who answered.
        computed_by: With what.
        is_tuned: Whether it is the prompt that the card is of.
        metrics: The scores.
    """

    title: str
    computed_by: str
    is_tuned: bool
    metrics: list[CardMetric]


class CardTable(msgspec.Struct, frozen=True):
    """Scores of contenders on the same rows.

    Attributes:
        data: The file's name, without its folders.
        data_hash: Its sha256.
        num_rows: Rows of it.
        lines: One a contender.
        command: That made it.
    """

    data: str
    data_hash: str
    num_rows: int
    lines: list[CardLine]
    command: str


class TrainingRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a prompt was trained.

    Attributes:
        method: Its name.
        base_id: The base's name on the Hugging Face hub, or None.
        base_licence: The base's licence as it says it, or None.
        data: The training file's name, without its folders.
        data_hash: sha256 of all rows in tokens.
        num_train_rows: Rows that it learned from.
        max_steps: Steps that were planned.
        command: That trains it, with files by their names.
        made_with: Versions in a sentence.
        num_validation_rows: Rows that `accuracy` is of.
        step: The step that the prompt is from.
        accuracy: Of labels, or exact match, with the prompt.
        macro_f1: With the prompt; None for free text.
        base_accuracy: Without it, where it was measured.
        table: A comparison on other rows, where it was made.
    """

    method: str
    base_id: str | None
    base_licence: str | None
    data: str
    data_hash: str
    num_train_rows: int
    max_steps: int
    command: str
    made_with: str
    num_validation_rows: int = 0
    step: int = 0
    accuracy: float = 0.0
    macro_f1: float | None = None
    base_accuracy: float | None = None
    table: CardTable | None = None
