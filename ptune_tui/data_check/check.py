"""The whole check: rows stream past the finders once, and what they share is compared at the end.

Memory does not grow with the texts. Rows and keys lie in temporary files; a byte a row and
the positions of the rows that are dropped are all that grows with the number of rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np

from export.encoding import RowEncoder
from ptune_tui.config import DataConfig
from ptune_tui.data import task_template
from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.conflicts import ConflictFinder
from ptune_tui.data_check.duplicates import DuplicateFinder
from ptune_tui.data_check.encodings import EncodingFinder
from ptune_tui.data_check.faults import FaultFinder
from ptune_tui.data_check.finder import RowFinder
from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.groups import prompt_keys, show_groups
from ptune_tui.data_check.key_file import KeyFile
from ptune_tui.data_check.labels import LabelFinder
from ptune_tui.data_check.lengths import LengthFinder
from ptune_tui.data_check.near_duplicates import NearDuplicateFinder
from ptune_tui.data_check.report import DataReport, SplitSummary
from ptune_tui.data_check.row_store import RowStore
from ptune_tui.data_check.secrets import SecretFinder
from ptune_tui.data_check.source import SplitFile, iter_rows
from ptune_tui.data_check.splits import SplitFinder
from ptune_tui.data_check.template_guess import TemplateGuess
from ptune_tui.data_check.token_counter import TokenCounter
from ptune_tui.rows import Row, is_closed_set
from ptune_tui.tokenizer_card import TokenizerCard

BATCH_ROWS = 4096
_BATCH_CHARACTERS = 4 << 20
# Of these many rows it is told whether the responses are labels, for the template.
_FIRST_ROWS = 50_000
_FIRST_CHARACTERS = 16 << 20

OnProgress = Callable[[str, int], None]


@dataclass(frozen=True)
class Checked:
    """What a check found, and what `--fix` needs of it.

    Attributes:
        report: What was found.
        dropped: Positions of the training rows that `--fix` drops.
        commoner_label: The label to write for one that differs only in form.
        num_errors_left: Errors that `--fix` does not take away.
    """

    report: DataReport
    dropped: set[int]
    commoner_label: dict[str, str]
    num_errors_left: int


class Check:
    """A check of one to three files.

    Args:
        files (Sequence[SplitFile]): The files, training first.
        config (DataConfig): Columns, template, longest row and kind of scoring, as in training.
        card (TokenizerCard | None): Counts tokens; None: they are not counted.
        num_places (int): Places to keep of each kind of finding.
        on_progress (OnProgress): Given what is done and how many so far.
    """

    def __init__(
        self,
        files: Sequence[SplitFile],
        config: DataConfig,
        card: TokenizerCard | None,
        num_places: int,
        on_progress: OnProgress,
    ) -> None:
        self._files = files
        self._config = config
        self._card = card
        self._on_progress = on_progress
        self._findings = Findings(num_places)
        self._labels = LabelFinder(self._findings, config.scoring)
        self._num_rows = [0] * len(files)
        self._guess: TemplateGuess | None = None
        self._notices: list[str] = []

    def run(self) -> Checked:
        """Check.

        Raises:
            DataError: A file as a whole cannot be read, or holds no row.
        """
        with ExitStack() as stack:
            store = stack.enter_context(closing(RowStore()))
            keys = stack.enter_context(closing(KeyFile()))
            alike = stack.enter_context(closing(NearDuplicateFinder(self._findings, store)))
            batches = self._batches(store)
            first = _first_rows(batches)
            encoder = self._encoder(first)
            lengths = None
            if encoder:
                counter = TokenCounter(encoder)
                lengths = LengthFinder(self._findings, store, counter, self._config.max_tokens)
                stack.enter_context(closing(lengths))
            finders: list[RowFinder] = [
                *([lengths] if lengths else []),
                self._labels,
                EncodingFinder(self._findings),
                SecretFinder(self._findings),
                alike,
            ]
            for batch in itertools.chain(_emptied(first), batches):
                for finder in finders:
                    finder.look(batch)
                keys.add(prompt_keys(batch), _positions(batch))
                self._on_progress("rows", batch.first + len(batch.rows))
            self._labels.finish()
            if lengths:
                lengths.finish()
            self._compare(store, keys, alike)
            return self._result(lengths, encoder)

    def _compare(self, store: RowStore, keys: KeyFile, alike: NearDuplicateFinder) -> None:
        """Look at rows that have something in common, after all were read."""
        is_closed = self._labels.is_closed
        is_repeat = show_groups(
            keys,
            store,
            [
                DuplicateFinder(self._findings, store),
                SplitFinder(self._findings, store),
                ConflictFinder(self._findings, is_closed),
            ],
            lambda num_rows: self._on_progress("rows compared", num_rows),
        )
        alike.compare(
            is_repeat,
            is_closed,
            lambda num_pairs: self._on_progress("pairs compared", num_pairs),
        )

    def _batches(self, store: RowStore) -> Iterator[Batch]:
        """All rows of all files, written to the store as they come."""
        first = 0
        for index, file in enumerate(self._files):
            faults = FaultFinder(self._findings, file, index)
            rows = iter_rows(
                file.path,
                self._config,
                faults.add_no_row,
                self._notices.append,
                faults.add_repeated_name,
            )
            for chunk in _chunks(read.row for read in rows):
                batch = Batch(file.split, first, chunk)
                store.add(batch)
                first += len(chunk)
                self._num_rows[index] += len(chunk)
                yield batch
            if not self._num_rows[index]:
                raise faults.no_rows()

    def _encoder(self, first: Sequence[Batch]) -> RowEncoder | None:
        if self._card is None:
            return None
        training = [
            text for batch in first if batch.split == "training" for text in batch.responses
        ]
        is_closed = is_closed_set(len(set(training)), len(training), self._config.scoring)
        has_turns = any(row.turns for batch in first for row in batch.rows)
        template, columns = task_template(self._config, has_turns)
        if template is None and self._card.chat_template:
            self._guess = TemplateGuess(is_closed, len(training))
        return self._card.encoder(template, not is_closed, columns)

    def _result(self, lengths: LengthFinder | None, encoder: RowEncoder | None) -> Checked:
        is_closed = self._labels.is_closed
        if self._guess is not None and self._guess.is_closed != is_closed:
            self._notices.append(self._guess.refuted())
        splits = [
            SplitSummary(
                file.split,
                str(file.path),
                num_rows,
                lengths.summary(file.split) if lengths else None,
                self._labels.counts(file.split),
            )
            for file, num_rows in zip(self._files, self._num_rows, strict=True)
        ]
        report = DataReport(
            splits,
            self._findings.summaries(),
            self._card.name if self._card else None,
            encoder.renderer.template.text if encoder else None,
            self._config.max_tokens,
            self._notices,
        )
        return Checked(
            report,
            self._findings.dropped(),
            self._labels.commoner_label,
            self._findings.num_errors_left(),
        )


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows in lists of a bounded size, also where texts are long."""
    chunk: list[Row] = []
    num_characters = 0
    for row in rows:
        chunk.append(row)
        num_characters += len(row.prompt) + len(row.response)
        if len(chunk) == BATCH_ROWS or num_characters > _BATCH_CHARACTERS:
            yield chunk
            chunk, num_characters = [], 0
    if chunk:
        yield chunk


def _first_rows(batches: Iterator[Batch]) -> list[Batch]:
    """The first batches, taken from the others: enough to see what the responses are."""
    first: list[Batch] = []
    num_rows = num_characters = 0
    for batch in batches:
        first.append(batch)
        num_rows += len(batch.rows)
        num_characters += sum(len(row.prompt) + len(row.response) for row in batch.rows)
        if num_rows >= _FIRST_ROWS or num_characters >= _FIRST_CHARACTERS:
            break
    return first


def _emptied(batches: list[Batch]) -> Iterator[Batch]:
    """Batches of a list, which lets go of each."""
    batches.reverse()
    while batches:
        yield batches.pop()


def _positions(batch: Batch) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.arange(batch.first, batch.first + len(batch.rows), dtype=np.uint32)
