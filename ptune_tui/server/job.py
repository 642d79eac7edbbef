"""One request on its way: worked on in the answering thread, awaited in the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from export.answering import Answerer
from export.constraint import Constraint
from export.generation import FinishReason
from export.sampling import Sampling

Reason = Literal["stop", "length"]
# OpenAI has one word for the end token and for a stop string.
_REASONS: dict[FinishReason, Reason] = {"end": "stop", "stop": "stop", "length": "length"}


@dataclass(frozen=True)
class Piece:
    """A piece of an answer's text."""

    text: str


@dataclass(frozen=True)
class End:
    """An answer is complete."""

    reason: Reason
    num_tokens: int


@dataclass(frozen=True)
class Writing:
    """How free text is written.

    Attributes:
        max_new_tokens: The longest answer.
        sampling: How tokens are chosen.
        stop: Strings that end it.
        constraint: What it has to look like.
    """

    max_new_tokens: int
    sampling: Sampling
    stop: tuple[str, ...]
    constraint: Constraint | None = None


Item = Piece | End
Work = Callable[[Callable[[], bool]], Iterator[Item]]
"""What a job does; it asks its argument between tokens whether it is still wanted."""


def written(answerer: Answerer, ids: list[int], writing: Writing) -> Work:
    """The work of an answer in free text."""

    def work(is_cancelled: Callable[[], bool]) -> Iterator[Item]:
        generation = answerer.generate_behind(
            ids,
            writing.max_new_tokens,
            writing.sampling,
            writing.stop,
            writing.constraint,
            is_cancelled,
        )
        for text in generation:
            yield Piece(text)
        if generation.finish_reason is not None:
            yield End(_REASONS[generation.finish_reason], len(generation.tokens))

    return work


def labelled(answerer: Answerer, ids: list[int]) -> Work:
    """The work of an answer that is one of the prompt's labels."""

    def work(_: Callable[[], bool]) -> Iterator[Item]:
        label = answerer.classify_behind(ids).label
        yield Piece(label)
        yield End("stop", len(answerer.encoder.encode_response(label)) - 1)  # the end token

    return work


class Job:
    """A request's work and its results; made in the event loop that awaits them.

    Args:
        work (Work): What to do in the answering thread.

    Attributes:
        end: How the answer ended, once it has.
    """

    def __init__(self, work: Work) -> None:
        self.end: End | None = None
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Item | Exception] = asyncio.Queue()
        self._cancelled = threading.Event()

    def run(self) -> None:
        """Do the work; called in the answering thread."""
        try:
            for item in self._work(self._cancelled.is_set):
                self._deliver(item)
        except Exception as error:
            # Whoever awaits the answer decides what it means; the thread has more to do.
            self._deliver(error)

    def cancel(self) -> None:
        """End the work before its next token."""
        self._cancelled.set()

    def fail(self, error: Exception) -> None:
        """End the work before its next token, and tell who awaits it."""
        self._cancelled.set()
        self._deliver(error)

    async def items(self) -> AsyncIterator[Item]:
        """The results as they come, up to the `End`.

        Raises:
            Exception: The work failed, with the error that it raised.
        """
        while True:
            item = await self._items.get()
            if isinstance(item, Exception):
                raise item
            if isinstance(item, End):
                self.end = item
            yield item
            if self.end is not None:
                return

    async def whole(self) -> tuple[str, End]:
        """The whole text and how it ended.

        Raises:
            Exception: The work failed, with the error that it raised.
        """
        text = ""
        async for item in self.items():
            if isinstance(item, End):
                return text, item
            text += item.text
        raise AssertionError("an answer without an end")

    def _deliver(self, item: Item | Exception) -> None:
        # The loop is closed only once the server has ended, and then nobody awaits anything.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
