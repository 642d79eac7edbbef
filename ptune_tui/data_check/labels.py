"""The closed set of responses, if there is one: how balanced it is, and what is not in it."""

from __future__ import annotations

from collections import Counter, defaultdict

from ptune_tui.config import Scoring
from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.normal import normalise
from ptune_tui.data_check.report import LabelCount, Split
from ptune_tui.data_check.wording import quoted, rows_text
from ptune_tui.errors import DataError
from ptune_tui.rows import MAX_LABELS, Row, is_closed_set

MIN_ROWS_OF_LABEL = 4
MAX_RATIO = 10
MAX_MAJORITY = 0.8
# Without a limit, a column of free texts that is called labels would be kept in memory.
MOST_LABELS_AS_ASKED = 100_000


class LabelFinder:
    """Counts labels.

    Args:
        findings (Findings): Takes what is found.
        scoring (Scoring): As in training.
    """

    def __init__(self, findings: Findings, scoring: Scoring) -> None:
        self._findings = findings
        self._scoring = scoring
        self._counts: dict[Split, Counter[str]] = defaultdict(Counter)
        self._first_rows: dict[str, tuple[int, Row]] = {}  # of training
        self._last_rows: dict[Split, tuple[int, Row]] = {}
        self._is_open = scoring == "text"
        self._is_settled = False
        self._common: dict[str, str] = {}  # the commoner form of a variant
        self.commoner_label: dict[str, str] = {}  # those of them that `--fix` writes

    @property
    def is_closed(self) -> bool:
        """Whether the responses are labels, once all training rows were seen."""
        if not self._is_settled:
            counts = self._counts["training"]
            num_rows = sum(counts.values())
            self._is_open |= not is_closed_set(len(counts), num_rows, self._scoring)
            self._is_settled = True
        return not self._is_open

    def counts(self, split: Split) -> list[LabelCount] | None:
        """Rows of each label, the commonest first; None for free text."""
        if not self.is_closed:
            return None
        return [LabelCount(label, count) for label, count in self._counts[split].most_common()]

    def look(self, batch: Batch) -> None:
        """Count the labels of some rows; training rows come first."""
        if self._is_open or (batch.split != "training" and not self.is_closed):
            return
        self._last_rows[batch.split] = (batch.first, batch.rows[-1])
        if batch.split == "training":
            self._count(batch)
        else:
            self._check(batch)

    def finish(self) -> None:
        """Say what the counts show."""
        if not self.is_closed or not self._first_rows:
            return
        self._say_variants()
        self._say_balance()
        for split in ("validation", "test"):
            if split in self._last_rows:
                self._say_missing(split)

    def _count(self, batch: Batch) -> None:
        counts = self._counts["training"]
        counts.update(batch.responses)
        for index, row in enumerate(batch.rows):
            if row.response not in self._first_rows:
                self._first_rows[row.response] = (batch.first + index, row)
        if self._scoring == "labels":
            self._check_number(batch)
        elif len(counts) > MAX_LABELS:
            self._is_open = True
            counts.clear()
            self._first_rows.clear()

    def _check_number(self, batch: Batch) -> None:
        if len(self._first_rows) > MOST_LABELS_AS_ASKED:
            raise DataError(
                f"{batch.rows[-1].place}: more than {MOST_LABELS_AS_ASKED:,} different responses "
                "so far, which are no labels.",
                "Name the label's column with `--response-field`, or say `--scoring text`.",
            )

    def _check(self, batch: Batch) -> None:
        known = self._first_rows
        counts = self._counts[batch.split]
        for index, row in enumerate(batch.rows):
            if row.response in known:
                counts[row.response] += 1
                continue
            self._findings.add(
                "unknown-label",
                batch.split,
                batch.first + index,
                row,
                f"{quoted(row.response)} is not one of the {len(known):,} training labels.",
            )

    def _say_variants(self) -> None:
        counts = self._counts["training"]
        forms: dict[str, list[str]] = defaultdict(list)
        for label, _ in counts.most_common():
            forms[normalise(label)].append(label)
        for common, *variants in forms.values():
            for label in variants:
                self._say_variant(label, common)

    def _say_variant(self, label: str, common: str) -> None:
        counts = self._counts["training"]
        number, row = self._first_rows[label]
        self._common[label] = common
        message = (
            f"{quoted(label)} ({rows_text(counts[label])}) differs only in form from "
            f"{quoted(common)} ({rows_text(counts[common])})"
        )
        users = [split for split in ("validation", "test") if self._counts[split][label]]
        if users:
            # Held-out files are not changed: rewritten in training alone, it would be unknown.
            message += f"; {users[0]} has it, too, so mend both by hand"
        else:
            self.commoner_label[label] = common
        self._findings.add(
            "label-variant",
            "training",
            number,
            row,
            f"{message}.",
            count=counts[label],
            is_of_training=not users,
        )

    def _say_balance(self) -> None:
        ordered = self._merged("training").most_common()
        num_rows = sum(count for _, count in ordered)
        (largest, most), (smallest, fewest) = ordered[0], ordered[-1]
        for label, count in ordered:
            if count < MIN_ROWS_OF_LABEL:
                number, row = self._first_rows[label]
                message = f"{quoted(label)} has {rows_text(count)} in training."
                self._findings.add("rare-label", "training", number, row, message)
        share = most / num_rows
        if len(ordered) > 1 and (most > MAX_RATIO * fewest or share >= MAX_MAJORITY):
            _, row = self._first_rows[largest]
            self._findings.add_place(
                "imbalance",
                "training",
                0,
                row.source,
                0,
                f"{quoted(largest)} has {rows_text(most)}, {quoted(smallest)} {fewest:,}: always "
                f"answering {quoted(largest)} would have accuracy {share:.3f}; look at macro-F1.",
            )

    def _say_missing(self, split: Split) -> None:
        counts = self._merged(split)
        missing = [label for label in self._merged("training") if not counts[label]]
        number, row = self._last_rows[split]
        for label in missing:
            message = f"{quoted(label)} has no row in {split}: nothing is measured of it."
            self._findings.add_place("missing-label", split, number, row.source, 0, message)

    def _merged(self, split: Split) -> Counter[str]:
        """Rows by label, variants of a label counted as it."""
        merged: Counter[str] = Counter()
        for label, count in self._counts[split].items():
            merged[self._common.get(label, label)] += count
        return merged
