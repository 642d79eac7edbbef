"""The task that measures our training step beside PEFT's: contenders that take turns.

This process holds no model and no torch; it asks one child at a time, and the others wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from safetensors.numpy import load_file

from ptune_tui.errors import ResourceError, UsageError
from ptune_tui.estimate import estimate
from ptune_tui.events import (
    Event,
    Notice,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFinished,
)
from ptune_tui.hardware import default_num_threads, machine
from ptune_tui.model_numbers import read_model_numbers
from ptune_tui.models import resolve
from ptune_tui.step_setting import Setting
from ptune_tui.tasks import RESULT_FILE, BenchTrainTask, write_atomically
from ptune_tui.training_speed import (
    REFERENCE,
    BenchSetting,
    ContenderSpeed,
    Side,
    TrainingSpeed,
    measured,
    with_ratios,
)
from ptune_tui.worker.bench.child_process import ChildError, ChildProcess
from ptune_tui.worker.bench.messages import Computed, Loaded, Prepared, TakeGradient, TakeStep
from ptune_tui.worker.bench.shared_files import GRADIENT, ChildSetting, SharedFolder
from ptune_tui.worker.channel import Channel

# OpenMP's threads spin for up to 0.2 s after their work; the next contender is not to notice.
SETTLE_SECONDS = 0.25


def bench_train(task: BenchTrainTask, folder: Path, channel: Channel) -> Iterator[Event]:
    """Measure; the figures go to `result.json` in the task's folder.

    Args:
        task (BenchTrainTask): What to measure.
        folder (Path): The task's folder.
        channel (Channel): Where progress is said.

    Raises:
        ResourceError: There is not enough free memory.
        UsageError: Nothing is left to compare.
    """
    started = time.perf_counter()
    num_threads = task.setting.num_threads or default_num_threads()
    setting = msgspec.structs.replace(task.setting, num_threads=num_threads)
    found = resolve(
        setting.model,
        lambda done, total: channel.progress(
            StageProgress("prepare", done, total, "bytes of the model")
        ),
        lambda sentence: channel.say(Notice("model", sentence)),
    )
    needed = _needed_memory(setting, found.path)
    _check_memory(needed)
    # In the task's folder, because a system's folder for temporary files may be memory.
    with TemporaryDirectory(dir=folder) as temporary, ExitStack() as children:
        shared = SharedFolder(Path(temporary))
        shared.write_setting(ChildSetting(setting, str(found.path.absolute()), found.name))
        yield StageStarted("prepare", time.time(), found.name)
        preparing = time.perf_counter()
        prepared = _prepare(shared, num_threads)
        yield StageFinished("prepare", time.perf_counter() - preparing)
        turns = [
            *(Turn("ptune", kernel, shared, num_threads) for kernel in setting.kernels),
            *(Turn("peft", precision, shared, num_threads) for precision in setting.against),
        ]
        for turn in turns:
            yield StageStarted("load", time.time(), turn.name)
            yield turn.start(children, needed)
        _check_sides(turns)
        yield from _rounds(turns, setting.num_rounds, channel)
        contenders, fastest = with_ratios([turn.result(setting) for turn in turns])
    speed = TrainingSpeed(
        setting=msgspec.structs.replace(setting, model=found.name),
        contenders=contenders,
        fastest=fastest,
        processor=machine().processor,
        versions=prepared.versions,
        weights_hash=prepared.weights_hash,
    )
    write_atomically(folder / RESULT_FILE, msgspec.json.encode(speed))
    yield TaskFinished(time.perf_counter() - started)


@dataclass
class Turn:
    """One contender's child and what it has measured so far."""

    side: Side
    variant: str
    shared: SharedFolder
    num_threads: int
    loading_peak_bytes: int | None = None
    peak_memory_bytes: int | None = None
    computed_by: str | None = None
    loss: float | None = None
    unavailable: str | None = None
    step_seconds: list[float] = field(default_factory=list)
    child: ChildProcess | None = None

    @property
    def name(self) -> str:
        """What to call the contender."""
        return f"{self.side} {self.variant}"

    def start(self, children: ExitStack, needed_bytes: int) -> Event:
        """Load the contender and take the first prompt's gradient; says how that went."""
        role = f"{self.side}:{self.variant}"
        started = time.perf_counter()
        try:
            _check_memory(needed_bytes)
            self.child = children.enter_context(
                ChildProcess(self.shared.path, role, self.num_threads)
            )
            loaded = self.child.wait_for(Loaded)
            path = self.shared.gradient(self.name)
            self.loss = self.child.ask(TakeGradient(str(path)), Computed).loss
        except (ChildError, ResourceError) as error:
            return self._give_up(error)
        self.loading_peak_bytes = loaded.loading_peak_bytes
        self.computed_by = loaded.computed_by
        return StageFinished("load", time.perf_counter() - started, loaded.computed_by)

    def step(self, *, counts: bool) -> Event | None:
        """Do one step; says so where the contender could not."""
        assert self.child is not None
        time.sleep(SETTLE_SECONDS)
        try:
            done = self.child.ask(TakeStep(), Computed)
        except ChildError as error:
            return self._give_up(error)
        self.peak_memory_bytes = done.peak_memory_bytes
        if counts:
            self.step_seconds.append(done.seconds)
        return None

    def result(self, setting: BenchSetting) -> ContenderSpeed:
        """The contender's figures, without its ratios."""
        if self.unavailable is not None:
            return ContenderSpeed(
                side=self.side, variant=self.variant, unavailable=self.unavailable
            )
        speed = ContenderSpeed(
            side=self.side,
            variant=self.variant,
            peak_memory_bytes=self.peak_memory_bytes,
            loading_peak_bytes=self.loading_peak_bytes,
            computed_by=self.computed_by,
            loss=self.loss,
            gradient_cosine=_cosine(self.shared, self.name),
        )
        return measured(speed, self.step_seconds, setting.num_rows * setting.num_tokens)

    def _give_up(self, error: ChildError | ResourceError) -> Event:
        if self.child is not None:
            self.child.end(at_once=True)
        self.unavailable = error.message
        return Notice("bench-contender", f"{self.name} cannot run: {error.message}", error.hint)


def _prepare(shared: SharedFolder, num_threads: int) -> Prepared:
    with ChildProcess(shared.path, "prepare", num_threads) as child:
        return child.wait_for(Prepared)


def _rounds(turns: list[Turn], num_rounds: int, channel: Channel) -> Iterator[Event]:
    """One step of each contender to warm up, then the rounds that count."""
    yield StageStarted("measure", time.time(), "first a round that does not count")
    started = time.perf_counter()
    for number in range(num_rounds + 1):
        for turn in turns:
            if turn.unavailable is None:
                notice = turn.step(counts=number > 0)
                if notice is not None:
                    yield notice
        channel.progress(StageProgress("measure", number, num_rounds, "rounds"))
    _check_sides(turns)
    yield StageFinished("measure", time.perf_counter() - started)


def _check_sides(turns: list[Turn]) -> None:
    """Refuse to go on where one side asked for has no contender left.

    Raises:
        UsageError: Says why each of them could not run.
    """
    for side in ("ptune", "peft"):
        asked = [turn for turn in turns if turn.side == side]
        if asked and all(turn.unavailable is not None for turn in asked):
            reasons = "; ".join(f"{turn.name}: {turn.unavailable}" for turn in asked)
            raise UsageError(f"No contender of {side} could run: {reasons}", "See `ptune doctor`.")


def _cosine(shared: SharedFolder, name: str) -> float | None:
    """Cosine of a contender's gradient with PEFT's in float32; None where that did not run."""
    reference = shared.gradient(f"peft {REFERENCE}")
    if not reference.exists():
        return None
    one = load_file(shared.gradient(name))[GRADIENT].astype(np.float64).ravel()
    other = load_file(reference)[GRADIENT].astype(np.float64).ravel()
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _needed_memory(setting: BenchSetting, model_path: Path) -> int:
    """Bytes that the largest contender takes, about: PEFT has logits at every position."""
    num_row_tokens = setting.num_tokens + setting.num_virtual_tokens
    largest = Setting(
        kernel="cached",
        batch_size=setting.num_rows,
        num_row_tokens=num_row_tokens,
        num_virtual_tokens=0,
        num_label_tokens=num_row_tokens,
    )
    return estimate(read_model_numbers(model_path), largest).peak_bytes


def _check_memory(needed_bytes: int) -> None:
    """Refuse to start what does not fit.

    Raises:
        ResourceError: Less is free than is needed.
    """
    available = machine().available_memory_bytes
    if available is not None and available < needed_bytes:
        raise ResourceError(
            f"A contender takes about {needed_bytes / 1e9:.1f} GB and {available / 1e9:.1f} GB of "
            "memory are free.",
            "Use fewer `--rows` or contenders (`--kernel`, `--against`).",
        )
