"""One contender of `ptune bench run`: its child, and the figures that it has so far."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from ptune_tui.answering_speed import (
    AnsweringContender,
    Measure,
    Side,
    Unit,
    make_figure,
)
from ptune_tui.errors import ResourceError
from ptune_tui.events import Event, Notice, StageFinished
from ptune_tui.hardware import machine
from ptune_tui.worker.bench.answering.child import PREPARE
from ptune_tui.worker.bench.answering.files import AnsweringFolder
from ptune_tui.worker.bench.child import ANSWERING
from ptune_tui.worker.bench.child_process import ChildError, ChildProcess
from ptune_tui.worker.bench.messages import ModelPrepared, Ready, TakeMeasure, Taken

# Threads may spin for up to 0.2 s after their work; the next contender is not to notice.
SETTLE_SECONDS = 0.25
# Of the bytes on disk: weights are mapped, and repacked beside that.
LOADED_SHARE = 2.0
_OF_ALL: tuple[Measure, ...] = ("decode", "prefill", "memory", "load", "disk")


@dataclass
class Turn:
    """A contender as the bench holds it."""

    side: Side
    variant: str
    folder: AnsweringFolder
    num_threads: int
    unavailable: str | None = None
    hint: str | None = None
    computed_by: str | None = None
    measures: Sequence[str] = ()
    answers: list[str] | None = None
    values: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    child: ChildProcess | None = None

    @property
    def name(self) -> str:
        """What to call the contender."""
        return f"{self.side} {self.variant}"

    @property
    def role(self) -> str:
        """What its children are called."""
        return f"{self.side}:{self.variant}"

    def prepare(self) -> Event:
        """Let it make its own model of the base; says how that went."""
        started = time.perf_counter()
        try:
            with self._start(f"{PREPARE}:{self.role}") as child:
                child.wait_for(ModelPrepared)
        except ChildError as error:
            return self._give_up(error)
        return StageFinished("prepare", time.perf_counter() - started, self.name)

    def load(self, children: ExitStack) -> Event:
        """Start the child that stays; says how that went."""
        started = time.perf_counter()
        try:
            self._check_memory()
            self.child = children.enter_context(self._start(self.role))
            ready = self.child.wait_for(Ready)
        except (ChildError, ResourceError) as error:
            return self._give_up(error)
        self.computed_by = ready.computed_by
        self.measures = (*_OF_ALL, *ready.measures)
        return StageFinished("load", time.perf_counter() - started, ready.computed_by)

    def take(self, measure: Measure, *, counts: bool) -> Event | None:
        """Take one measure that the contender has; says so where it could not."""
        assert self.child is not None
        time.sleep(SETTLE_SECONDS)
        try:
            taken = self.child.ask(TakeMeasure(measure), Taken)
        except ChildError as error:
            return self._give_up(error)
        self.computed_by = taken.computed_by
        self._keep(taken, counts)
        return None

    def take_cold(self, measures: Sequence[Measure], *, counts: bool) -> Event | None:
        """Load anew in another process, to the first token, and answer there once.

        Args:
            measures (Sequence[Measure]): Those that are wanted.
            counts (bool): Whether the figures count.
        """
        time.sleep(SETTLE_SECONDS)
        try:
            started = time.perf_counter()
            with self._start(self.role) as child:
                child.wait_for(Ready)
                if counts and "load" in measures:
                    self._add("load", "s", time.perf_counter() - started)
                if "memory" in measures:
                    self._keep(child.ask(TakeMeasure("memory"), Taken), counts)
        except ChildError as error:
            return self._give_up(error)
        return None

    def result(self) -> AnsweringContender:
        """The contender's figures."""
        if self.unavailable is not None:
            return AnsweringContender(
                side=self.side,
                variant=self.variant,
                unavailable=self.unavailable,
                hint=self.hint,
            )
        return AnsweringContender(
            side=self.side,
            variant=self.variant,
            computed_by=self.computed_by,
            figures=tuple(
                make_figure(name, self.units[name], values) for name, values in self.values.items()
            ),
        )

    def _start(self, role: str) -> ChildProcess:
        return ChildProcess(self.folder.path, f"{ANSWERING}{role}", self.num_threads)

    def _keep(self, taken: Taken, counts: bool) -> None:
        if taken.answers is not None:
            self.answers = taken.answers
        for figure in taken.figures if counts else ():
            self._add(figure.name, figure.unit, figure.value)

    def _add(self, name: str, unit: Unit, value: float) -> None:
        self.values.setdefault(name, []).append(value)
        self.units[name] = unit

    def _check_memory(self) -> None:
        """Refuse to load what does not fit.

        Raises:
            ResourceError: Less is free than is needed.
        """
        needed = LOADED_SHARE * self.folder.model_bytes(self.side, self.variant)
        available = machine().available_memory_bytes
        if available is not None and available < needed:
            raise ResourceError(
                f"It takes about {needed / 1e9:.1f} GB and {available / 1e9:.1f} GB of memory are "
                "free.",
                "Measure fewer contenders at once (`--only`).",
            )

    def _give_up(self, error: ChildError | ResourceError) -> Event:
        if self.child is not None:
            self.child.end(at_once=True)
        self.unavailable, self.hint = error.message, error.hint
        return Notice("bench-contender", f"{self.name} cannot run: {error.message}", error.hint)
