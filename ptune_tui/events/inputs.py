"""What a task works on: model, rows, where they are from, and the plan for them."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class ModelReady(Struct, frozen=True, tag=True):
    """The frozen model is loaded."""

    name: str
    family: str
    num_layers: int
    hidden_size: int
    vocab_size: int
    num_parameters: int
    quantised_bytes: int
    relative_error: float | None  # of the quantised weights; None where the import is exact
    scheme: str
    kernel: str
    weights_hash: str
    num_threads: int


class DataReady(Struct, frozen=True, tag=True):
    """The rows are read, templated and tokenised."""

    num_train_rows: int
    num_validation_rows: int
    num_cut_rows: int  # rows whose prompt was cut from the left
    max_row_tokens: int
    mean_row_tokens: float
    labels: list[str] | None  # the closed set of responses, or None for free text
    template: str
    num_shared_tokens: int  # leading template tokens that every row shares


class DataFile(Struct, frozen=True):
    """A file that a run read its rows from."""

    role: Literal["train", "validation"]
    path: str
    sha256: str
    num_bytes: int


class ProvenanceNoted(Struct, frozen=True, tag=True):
    """What a run reads and computes on, so that another person can make it again.

    Attributes:
        files: Those of the rows that are files of this disk.
        rows_hash: sha256 of all rows in tokens: the same for the same rows in any file format.
        versions: Of Python and of the packages that compute, by name.
        system: The operating system.
        processor: The processor's name, where it says one.
        num_usable_cores: Logical cores that the worker may use.
        total_memory_bytes: Of the machine, or the container's limit.
        accelerator: The graphics card's name, where there is one.
    """

    files: list[DataFile]
    rows_hash: str
    versions: dict[str, str]
    system: str
    processor: str | None
    num_usable_cores: int | None
    total_memory_bytes: int | None
    accelerator: str | None


class PlanMade(Struct, frozen=True, tag=True):
    """How the steps will be computed, and why; every choice can be forced."""

    kernel: str
    device: str
    compute_type: str
    micro_batch_size: int
    checkpointing: bool
    bucket_width: int
    reasons: list[str]  # one sentence a choice
    seconds_per_step: float | None = None  # of the probe; None where nothing was probed
    probe_memory_bytes: int | None = None
    is_packed: bool = False  # rows lie end to end, so widths do not matter


class PreviewRow(Struct, frozen=True):
    """One row as the trainer will see it.

    `pieces` are the tokens' texts; `in_loss` says for each whether the loss is taken on it; `line`
    is where it begins in its file, 0 where that was not said.
    """

    pieces: list[str]
    in_loss: list[bool]
    was_cut: bool
    line: int = 0


class PreviewMade(Struct, frozen=True, tag=True):
    """The first rows, tokenised, with their label mask, and what is known of all of them.

    `template` is the one that was used, whoever chose it; `labels` is None for free text.
    """

    rows: list[PreviewRow]
    template: str = ""
    about: list[str] = []
    num_train_rows: int = 0
    num_validation_rows: int = 0
    labels: list[str] | None = None


InputEvent = ModelReady | DataReady | ProvenanceNoted | PlanMade | PreviewMade
