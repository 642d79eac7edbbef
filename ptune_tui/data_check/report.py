"""What a check of data found: one struct for the command line, the app and the report. A leaf."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ptune_tui.reading.record import place_of

Severity = Literal["error", "warning", "note"]
Split = Literal["training", "validation", "test"]
Code = Literal[
    "malformed",
    "empty",
    "not-rendered",
    "response-too-long",
    "no-room",
    "unknown-label",
    "split-overlap",
    "secret",
    "repeated-name",
    "duplicate",
    "duplicate-normalised",
    "split-overlap-normalised",
    "split-overlap-near",
    "conflict",
    "long-response",
    "truncated",
    "label-variant",
    "rare-label",
    "imbalance",
    "replacement-character",
    "mojibake",
    "control-character",
    "card-number",
    "near-duplicate",
    "repeated-prompt",
    "missing-label",
    "normal-form",
    "invisible-character",
    "e-mail",
]


class Finding(Struct, frozen=True):
    """One thing at one place."""

    code: Code
    severity: Severity
    source: str  # the file
    line: int  # counted from 1; 0: the file as a whole
    message: str  # one sentence with the value
    fix: str  # what `--fix` does about it
    item: int = 0  # of a JSON array, counted from 1, where its line holds several; else 0

    @property
    def place(self) -> str:
        """File, line and item."""
        return place_of(self.source, self.line, self.item)


class CodeSummary(Struct, frozen=True):
    """All findings of one kind: counted in full, with the first places."""

    code: Code
    severity: Severity
    title: str
    count: int
    counts: dict[Split, int]  # the same by split
    fix: str  # what `--fix` does about those of the training file
    places: list[Finding]  # the first ones, in the order of the rows


class Lengths(Struct, frozen=True):
    """How long texts are, in tokens."""

    mean: float
    p50: int
    p95: int
    longest: int


class TokenLengths(Struct, frozen=True):
    """Token lengths of a split, with the model's own tokenizer and template."""

    prompt: Lengths  # the template included
    response: Lengths  # the end token included
    row: Lengths
    num_cut: int  # prompts that training would cut


class LabelCount(Struct, frozen=True):
    """Rows of one label."""

    label: str
    num_rows: int


class SplitSummary(Struct, frozen=True):
    """One file."""

    split: Split
    source: str
    num_rows: int  # that can be used
    tokens: TokenLengths | None  # None where they were not counted
    labels: list[LabelCount] | None  # commonest first; None for free text


class DataReport(Struct, frozen=True):
    """Everything that was found."""

    splits: list[SplitSummary]
    findings: list[CodeSummary]  # errors first
    tokenizer: str | None  # the model whose tokenizer counted
    template: str | None
    max_tokens: int
    notices: list[str]  # what was not looked at, and why

    def num_of(self, severity: Severity) -> int:
        """Findings of a severity."""
        return sum(found.count for found in self.findings if found.severity == severity)
