"""The task that answers texts with a lineup, as they are asked.

Model and bundles are loaded once and kept, so a text waits for its answers alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from export.labels import label_probabilities
from export.runtime import Bundle
from ptune_tui.errors import PTuneError
from ptune_tui.evaluation.contenders import scores_all_labels
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.events import (
    AskText,
    Event,
    StageFinished,
    StageStarted,
    Stop,
    TaskFinished,
    TextAnswered,
)
from ptune_tui.lineup import ORDER, Lineup
from ptune_tui.locks import process_of
from ptune_tui.rows import Row
from ptune_tui.tasks import AnswerTask, EvaluateTask
from ptune_tui.worker.bundle_contenders import BundleContenders
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.compare import given_of

if TYPE_CHECKING:
    from ptune_tui.worker.contenders import TorchContenders

_POLL_SECONDS = 0.05
_OWNER_SECONDS = 1.0  # between two looks whether somebody still waits for answers
_IDLE_SECONDS = 900.0  # without a text, before the models give their memory back
_SOURCE = "a text"  # in place of a file's name


@dataclass(frozen=True)
class _Answer:
    """One answer to a text."""

    title: str
    computed_by: str
    text: str
    seconds: float
    probabilities: dict[str, float] = field(default_factory=dict)


@dataclass
class _InTorch:
    """A run's contenders."""

    contenders: TorchContenders

    def answer(self, key: ContenderKey, row: Row) -> _Answer:
        """Have one of them answer a text."""
        contenders = self.contenders
        contenders.rows = [row]
        asked = contenders.prepared(key)
        scores, _ = contenders.scored(asked)
        labels = contenders.tuned.card.labels or []
        found = scores.label_probabilities
        return _Answer(
            asked.title,
            f"torch, {asked.frozen.kernel}",
            scores.answers[0],
            scores.seconds,
            dict(zip(labels, found[0], strict=True)) if found else {},
        )


@dataclass
class _InBundle:
    """A bundle's contenders, in one precision."""

    contenders: BundleContenders

    def answer(self, key: ContenderKey, row: Row) -> _Answer:
        """Have one of them answer a text."""
        self.contenders.rows = [row]
        asked = self.contenders.prepared(key)
        answerer, computed_by = asked.answerer, f"onnxruntime, {self.contenders.bundle.precision}"
        labels = answerer.record.labels
        started = time.perf_counter()
        if labels is None:
            text = answerer.answer(row.prompt)
            text = text if asked.told is None else asked.told.answers([text])[0]
            return _Answer(asked.title, computed_by, text, time.perf_counter() - started)
        found = answerer.classify(row.prompt, scores_all_labels(labels, None))
        seconds = time.perf_counter() - started
        shares = label_probabilities(found.all_scores).tolist() if found.all_scores else []
        probabilities = dict(zip(labels, shares, strict=True)) if shares else {}
        return _Answer(asked.title, computed_by, found.label, seconds, probabilities)


@dataclass
class _Answering:
    """All that answer, in the order of the lineup."""

    lineup: Lineup
    channel: Channel
    places: list[tuple[ContenderKey, _InTorch | _InBundle]] = field(default_factory=list)

    def load(self) -> Iterator[Event]:
        """Load model and bundles, and say how it goes."""
        lineup = self.lineup
        beside: list[ContenderKey] = [key for key in ORDER if key in lineup.keys]
        if lineup.run and beside:
            yield from self._load_run(lineup.run, beside)
        for number, precision in enumerate(lineup.precisions):
            assert lineup.bundle is not None
            yield StageStarted("load", time.time(), f"bundle ({precision})")
            before = time.perf_counter()
            bundle = Bundle.open(lineup.bundle, precision)
            place = _InBundle(BundleContenders(bundle, given_of(lineup), []))
            if number == 0 and not lineup.run:
                self.places += [(key, place) for key in beside if key != "tuned"]
            self.places.append(("bundle", place))
            yield StageFinished("load", time.perf_counter() - before)

    def _load_run(self, run: str, keys: list[ContenderKey]) -> Iterator[Event]:
        # torch; a bundle needs none
        from ptune_tui.worker.contenders import TorchContenders
        from ptune_tui.worker.tuned_model import TunedModelStage

        stage = TunedModelStage(Path(run), self.channel)
        yield from stage.events()
        lineup = self.lineup
        task = EvaluateTask(
            run,
            None,
            instruction=lineup.instruction,
            num_examples=lineup.num_examples,
            seed=lineup.seed,
            train=lineup.train,
        )
        place = _InTorch(TorchContenders(stage.tuned, [], task, self.channel))
        self.places += [(key, place) for key in keys]

    def answers(self, ask: AskText) -> Iterator[TextAnswered]:
        """What each answers to a text; one that cannot does not keep the others from it."""
        row = Row(ask.text, "", _SOURCE, 1)
        for number, (key, place) in enumerate(self.places, start=1):
            is_last = number == len(self.places)
            try:
                found = place.answer(key, row)
            except PTuneError as error:
                words = f"{error.message} {error.hint}".rstrip()
                title = key.replace("_", "-")
                yield TextAnswered(ask.number, title, "", "", 0.0, error=words, is_last=is_last)
                continue
            probabilities = {
                label: share for label, share in found.probabilities.items() if math.isfinite(share)
            }
            yield TextAnswered(
                ask.number,
                found.title,
                found.computed_by,
                found.text.strip(),
                found.seconds,
                probabilities,
                is_last=is_last,
            )


def answer(task: AnswerTask, channel: Channel) -> Iterator[Event]:
    """Answer texts until the task is stopped, or nobody is left who asks.

    Args:
        task (AnswerTask): Who answers.
        channel (Channel): Where texts come from.
    """
    started = time.perf_counter()
    answering = _Answering(task.lineup, channel)
    yield from answering.load()
    looked = last_asked = time.monotonic()
    while True:
        for command in channel.commands():
            if isinstance(command, Stop):
                yield TaskFinished(time.perf_counter() - started, stopped_early=True)
                return
            if isinstance(command, AskText):
                yield StageStarted("evaluate", time.time(), command.text)
                before = time.perf_counter()
                for answered in answering.answers(command):
                    yield answered
                    if process_of(task.owner) is None:
                        yield TaskFinished(time.perf_counter() - started, stopped_early=True)
                        return
                yield StageFinished("evaluate", time.perf_counter() - before)
                last_asked = time.monotonic()
        if time.monotonic() - looked > _OWNER_SECONDS:
            looked = time.monotonic()
            is_left = looked - last_asked > _IDLE_SECONDS
            if is_left or process_of(task.owner) is None:
                yield TaskFinished(time.perf_counter() - started, stopped_early=True)
                return
        time.sleep(_POLL_SECONDS)
