"""The task that measures answering beside other programs: contenders that take turns.

This process holds no model; it asks one child at a time, and the others wait.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from ptune_tui.answering_speed import (
    COLD_MEASURES,
    RIVALS,
    SIDES,
    AnsweringSetting,
    AnsweringSpeed,
    make_ratios,
    with_agreement,
)
from ptune_tui.errors import UsageError
from ptune_tui.events import (
    Event,
    Notice,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFinished,
)
from ptune_tui.hardware import default_num_threads, machine
from ptune_tui.models import resolve
from ptune_tui.tasks import RESULT_FILE, BenchRunTask, write_atomically
from ptune_tui.worker.bench.answering.child import PREPARE
from ptune_tui.worker.bench.answering.files import AnsweringFolder, ChildSetting
from ptune_tui.worker.bench.answering.turn import Turn
from ptune_tui.worker.bench.child import ANSWERING
from ptune_tui.worker.bench.child_process import ChildProcess
from ptune_tui.worker.bench.messages import InputsPrepared
from ptune_tui.worker.channel import Channel

# Of these a contender makes a model of its own first.
_WITH_OWN_MODEL = ("genai", "llama.cpp", "llama-cpp-python")
_PACKAGES = (
    *("onnxruntime", "onnxruntime-genai", "xllamacpp", "llama-cpp-python", "transformers"),
    "torch",
)


def bench_run(task: BenchRunTask, folder: Path, channel: Channel) -> Iterator[Event]:
    """Measure; the figures go to `result.json` in the task's folder.

    Args:
        task (BenchRunTask): What to measure.
        folder (Path): The task's folder.
        channel (Channel): Where progress is said.

    Raises:
        UsageError: Nothing is left to measure.
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
    # In the task's folder, because a system's folder for temporary files may be memory.
    with TemporaryDirectory(dir=folder) as temporary, ExitStack() as children:
        shared = AnsweringFolder(Path(temporary))
        shared.write_setting(ChildSetting(setting, str(found.path.absolute()), found.name))
        yield StageStarted("prepare", time.time(), found.name)
        preparing = time.perf_counter()
        prepared = _prepare(shared, num_threads)
        yield StageFinished("prepare", time.perf_counter() - preparing)
        turns = _turns(setting, prepared.precisions, shared)
        yield from _load(turns, children)
        yield from _rounds(turns, setting, channel)
        answers = {turn.name: turn.answers for turn in turns if turn.answers is not None}
        contenders = tuple(with_agreement(turn.result(), answers) for turn in turns)
    speed = AnsweringSpeed(
        setting=msgspec.structs.replace(setting, model=found.name),
        contenders=contenders,
        ratios=make_ratios(contenders),
        labels=tuple(prepared.labels),
        mean_row_tokens=prepared.mean_row_tokens,
        processor=machine().processor,
        versions=dict(_versions()),
        weights_hash=prepared.weights_hash,
    )
    write_atomically(folder / RESULT_FILE, msgspec.json.encode(speed))
    yield TaskFinished(time.perf_counter() - started)


def _prepare(shared: AnsweringFolder, num_threads: int) -> InputsPrepared:
    with ChildProcess(shared.path, f"{ANSWERING}{PREPARE}", num_threads) as child:
        return child.wait_for(InputsPrepared)


def _turns(
    setting: AnsweringSetting, precisions: Sequence[str], shared: AnsweringFolder
) -> list[Turn]:
    """The contenders that take part, ours first.

    Raises:
        UsageError: One that was asked for is not known.
    """
    known = [*(("ptune", precision) for precision in precisions), *RIVALS]
    names = {f"{side}:{variant}" for side, variant in known}
    for name in setting.contenders:
        if name not in names and name not in SIDES:
            raise UsageError(
                f"There is no contender {name!r}.", f"There are: {', '.join(sorted(names))}."
            )
    return [
        Turn(side, variant, shared, setting.num_threads)
        for side, variant in known
        if setting.has(side, variant)
    ]


def _load(turns: list[Turn], children: ExitStack) -> Iterator[Event]:
    """Let each make what it needs, then load all of them."""
    for turn in turns:
        if turn.side in _WITH_OWN_MODEL:
            yield StageStarted("prepare", time.time(), turn.name)
            yield turn.prepare()
    for turn in _running(turns):
        yield StageStarted("load", time.time(), turn.name)
        yield turn.load(children)
    _check_one_runs(turns)


def _rounds(turns: list[Turn], setting: AnsweringSetting, channel: Channel) -> Iterator[Event]:
    """A round to warm up, then the rounds that count; in each, measure by measure, turn by turn."""
    yield StageStarted("measure", time.time(), "first a round that does not count")
    started = time.perf_counter()
    cold = [measure for measure in setting.measures if measure in COLD_MEASURES]
    for number in range(setting.num_rounds + 1):
        counts = number > 0
        for measure in setting.measures:
            if measure not in COLD_MEASURES:
                for turn in _running(turns):
                    if measure in turn.measures:
                        yield from _said(turn.take(measure, counts=counts))
        for turn in _running(turns) if cold else ():
            yield from _said(turn.take_cold(cold, counts=counts))
        channel.progress(StageProgress("measure", number, setting.num_rounds, "rounds"))
    _check_one_runs(turns)
    yield StageFinished("measure", time.perf_counter() - started)


def _running(turns: list[Turn]) -> Iterator[Turn]:
    return (turn for turn in turns if turn.unavailable is None)


def _said(event: Event | None) -> Iterator[Event]:
    if event is not None:
        yield event


def _check_one_runs(turns: list[Turn]) -> None:
    """Refuse to go on where no contender is left.

    Raises:
        UsageError: Says why each of them could not run.
    """
    if not any(_running(turns)):
        reasons = "; ".join(f"{turn.name}: {turn.unavailable}" for turn in turns)
        raise UsageError(f"No contender could run: {reasons}", "See `ptune doctor`.")


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield package, "not installed"
