"""Token lengths, and the rows that do not fit."""

from __future__ import annotations

from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.column import Column
from ptune_tui.data_check.findings import Findings
from ptune_tui.data_check.report import Lengths, Split, TokenLengths
from ptune_tui.data_check.row_store import RowStore
from ptune_tui.data_check.token_counter import Counts, TokenCounter

_MOST_IN_FLIGHT = 2


class Histogram:
    """How often each length occurs."""

    def __init__(self) -> None:
        self._counts = np.zeros(256, np.int64)

    def add(self, lengths: Counts) -> None:
        """Count some lengths."""
        found = np.bincount(lengths)
        if len(found) > len(self._counts):
            self._counts = np.pad(self._counts, (0, len(found) - len(self._counts)))
        self._counts[: len(found)] += found

    def num_over(self, limit: int) -> int:
        """How many are longer than a limit."""
        return int(self._counts[limit + 1 :].sum())

    def summary(self) -> Lengths:
        """Mean, median, 95th percentile and maximum, each an observed length but the mean."""
        reached = np.cumsum(self._counts)
        total = int(reached[-1])
        mean = float((self._counts * np.arange(len(self._counts))).sum()) / total
        p50, p95, longest = (
            int(np.searchsorted(reached, np.ceil(share * total))) for share in (0.5, 0.95, 1.0)
        )
        return Lengths(mean, p50, p95, longest)


@dataclass(frozen=True)
class _Counted:
    """Tokens of the rows of a batch, and why the template does not take some of them."""

    prompts: Counts
    responses: Counts
    refused: dict[int, str]


class LengthFinder:
    """Counts tokens while other finders look, and says at the end what does not fit.

    Args:
        findings (Findings): Takes what is found.
        store (RowStore): All rows.
        counter (TokenCounter): Counts.
        max_tokens (int): The longest row in training.
    """

    def __init__(
        self, findings: Findings, store: RowStore, counter: TokenCounter, max_tokens: int
    ) -> None:
        self._findings = findings
        self._store = store
        self._counter = counter
        self._max_tokens = max_tokens
        self._num_template = counter.num_template_tokens
        self._pool = ThreadPoolExecutor(1)
        self._in_flight: deque[tuple[Batch, Future[_Counted]]] = deque()
        self._histograms: dict[Split, tuple[Histogram, Histogram, Histogram]] = defaultdict(
            lambda: (Histogram(), Histogram(), Histogram())
        )
        self._prompt_tokens = Column(np.int32)  # by position
        self._longest_response = 0  # of those that leave room
        self._prompt_limit = max_tokens

    def close(self) -> None:
        """End the counting thread and delete the file of lengths."""
        self._pool.shutdown(cancel_futures=True)
        self._prompt_tokens.close()

    def look(self, batch: Batch) -> None:
        """Begin to count the tokens of some rows."""
        self._in_flight.append((batch, self._pool.submit(self._count, batch)))
        if len(self._in_flight) > _MOST_IN_FLIGHT:
            self._take()

    def finish(self) -> None:
        """Say which prompts training cuts, or cannot cut: the longest response decides."""
        while self._in_flight:
            self._take()
        self._prompt_limit = self._max_tokens - self._longest_response
        first = 0
        for lengths in self._prompt_tokens.chunks():
            for index in np.flatnonzero(lengths > self._prompt_limit).tolist():
                self._say_cut(first + index, int(lengths[index]))
            first += len(lengths)

    def summary(self, split: Split) -> TokenLengths:
        """Lengths of a split that has rows."""
        prompts, responses, rows = self._histograms[split]
        return TokenLengths(
            prompts.summary(),
            responses.summary(),
            rows.summary(),
            prompts.num_over(self._prompt_limit),
        )

    def _count(self, batch: Batch) -> _Counted:
        prompts, refused = self._counter.prompts(batch.rows)
        return _Counted(prompts, self._counter.responses(batch.responses), refused)

    def _take(self) -> None:
        batch, result = self._in_flight.popleft()
        counted = result.result()
        prompts, responses = counted.prompts, counted.responses
        for index, message in counted.refused.items():
            number = batch.first + index
            self._findings.add(
                "not-rendered", batch.split, number, batch.rows[index], message, drop=(number,)
            )
        for histogram, lengths in zip(
            self._histograms[batch.split], (prompts, responses, prompts + responses), strict=True
        ):
            histogram.add(lengths)
        self._prompt_tokens.append(prompts)
        leaves_room = responses + self._num_template < self._max_tokens
        self._say_long(batch, responses, leaves_room)
        # Test rows are not part of the run whose longest response cuts the prompts.
        if batch.split != "test":
            longest = int(responses[leaves_room].max(initial=0))
            self._longest_response = max(self._longest_response, longest)

    def _say_long(
        self, batch: Batch, responses: Counts, leaves_room: npt.NDArray[np.bool_]
    ) -> None:
        is_long = responses * 2 >= self._max_tokens
        for index in np.flatnonzero(is_long | ~leaves_room).tolist():
            row, number = batch.rows[index], batch.first + index
            length = f"the response has {responses[index]:,} of {self._max_tokens:,} tokens"
            if leaves_room[index]:
                message = f"{length}: {self._max_tokens - responses[index]:,} are left for prompts."
                self._findings.add("long-response", batch.split, number, row, message)
            else:
                message = f"{length}, and the template {self._num_template}: no room for a prompt."
                self._findings.add(
                    "response-too-long", batch.split, number, row, message, drop=(number,)
                )

    def _say_cut(self, number: int, num_tokens: int) -> None:
        place = self._store.place(number)
        message = (
            f"the prompt has {num_tokens:,} tokens with its template; {self._prompt_limit:,} fit "
            f"beside the longest response ({self._longest_response:,}) in {self._max_tokens:,}."
        )
        if place.is_conversation:
            row = self._store.row(number).row
            if why := self._counter.why_unfit(row, self._prompt_limit):
                self._findings.add(
                    "no-room",
                    place.split,
                    number,
                    row,
                    f"{message} {why.rstrip('.')}.",
                    drop=(number,),
                )
                return
        self._findings.add_place(
            "truncated", place.split, number, place.source, place.line, message, item=place.item
        )
