"""Runs one task and turns whatever happens into events.

The engine is imported only by the tasks that need it, so that a chat starts without torch.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from ptune_tui.endings import gone_folder, left_words
from ptune_tui.errors import Category, Explanation, explain
from ptune_tui.events import (
    Event,
    StageFinished,
    StageStarted,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
from ptune_tui.locks import remove_lock, write_lock
from ptune_tui.tasks import (
    LOG_FILE,
    AnswerTask,
    BenchRunTask,
    BenchTrainTask,
    CompareTask,
    EvaluateTask,
    ExportTask,
    FindRateTask,
    InspectTask,
    LearningCurveTask,
    PreviewTask,
    Task,
    TokenizerTask,
    TrainTask,
    has_task,
    read_task,
)
from ptune_tui.worker.channel import Channel

_ENDED = Explanation("interrupted", "The worker was told to end before its work was done.", "")
_KINDS = {
    TrainTask: "train",
    FindRateTask: "find_rate",
    LearningCurveTask: "learning_curve",
    EvaluateTask: "evaluate",
    CompareTask: "compare",
    AnswerTask: "answer",
    InspectTask: "inspect",
    ExportTask: "export",
    PreviewTask: "preview",
    TokenizerTask: "tokenizer",
    BenchTrainTask: "bench_train",
    BenchRunTask: "bench_run",
}


def main(arguments: list[str]) -> int:
    """Run what the command line of the child names; returns its exit code.

    Args:
        arguments (list[str]): A task's folder, or `--chat` and what follows it.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # bitsandbytes fetches native code from a hub where the package `kernels` is installed.
    sys.modules["kernels"] = None  # type: ignore[assignment]
    if arguments[0] == "--chat":
        from ptune_tui.worker.chat import serve

        return serve(arguments[1:])
    return run_folder(Path(arguments[0]))


def run_folder(folder: Path) -> int:
    """Run the task of a folder; its last event says how it went."""
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.perf_counter()
    channel: Channel | None = None
    task: Task | None = None
    try:
        write_lock(folder)
        channel = Channel(folder)
        task = read_task(folder)
        channel.say(TaskStarted(time.time(), os.getpid(), _KINDS[type(task)]))  # type: ignore[arg-type]
        ending = None
        for event in _begun(task, folder, channel):
            if isinstance(event, TaskFinished):
                ending = event
            else:
                channel.say(event)
        channel.say(ending or TaskFinished(time.perf_counter() - started))
    except BaseException as error:
        # Whatever it is, the followers of the file must learn that the work is over.
        traceback.print_exc()
        reason = _reason(error, folder)
        hint = f"{reason.hint} {_left(folder, task, reason.category)}".strip()
        failed = TaskFailed(reason.category, reason.message, hint, str(folder / LOG_FILE))
        if channel is not None:
            channel.say_if_possible(failed)
        return reason.exit_code
    finally:
        if channel is not None:
            channel.close()
        remove_lock(folder)
    return 0


def _begun(task: Task, folder: Path, channel: Channel) -> Iterator[Event]:
    """Import what a task needs, and say so: torch takes seconds, many where the disk is busy."""
    if isinstance(task, PreviewTask | TokenizerTask):  # they go without
        return events_of(task, folder, channel)
    started = time.perf_counter()
    channel.say(StageStarted("import", time.time(), _libraries(task)))
    events = events_of(task, folder, channel)
    channel.say(StageFinished("import", time.perf_counter() - started))
    return events


def _libraries(task: Task) -> str:
    """What takes the seconds; a bundle alone needs no torch."""
    is_of_bundle = isinstance(task, CompareTask | AnswerTask) and not task.lineup.asks_torch
    if is_of_bundle or isinstance(task, BenchRunTask):
        return "what it computes with"
    return "torch"


def _reason(error: BaseException, folder: Path) -> Explanation:
    """Why the work is over; a file that is missing for want of the whole folder is no reason."""
    if isinstance(error, KeyboardInterrupt):
        return _ENDED
    if isinstance(error, FileNotFoundError) and not has_task(folder):
        gone = gone_folder(folder, None)
        return Explanation(gone.category, gone.message, gone.hint)
    return explain(error)


def _left(folder: Path, task: Task | None, category: Category) -> str:
    """What is saved, where it was no mistake that ended the work; those say it themselves."""
    return left_words(folder, task) if category in ("fault", "resources", "interrupted") else ""


def _interrupt(*_: object) -> None:
    """Being asked to end is an interrupt: what is half-written is taken away on the way out."""
    raise KeyboardInterrupt


def events_of(task: Task, folder: Path, channel: Channel) -> Iterator[Event]:
    """The events of a task, as it runs."""
    if isinstance(task, TrainTask):
        from ptune_tui.worker.train import train

        return train(task, folder, channel)
    if isinstance(task, FindRateTask):
        from ptune_tui.worker.find_rate import find_rate

        return find_rate(task, channel)
    if isinstance(task, LearningCurveTask):
        from ptune_tui.worker.learning_curve import learning_curve

        return learning_curve(task, folder, channel)
    if isinstance(task, EvaluateTask):
        from ptune_tui.worker.evaluate import evaluate

        return evaluate(task, folder, channel)
    if isinstance(task, CompareTask | AnswerTask) and task.lineup.asks_torch:
        import ptune_tui.worker.evaluate  # noqa: F401  # here, where it is said that torch comes
    if isinstance(task, CompareTask):
        from ptune_tui.worker.compare import compare

        return compare(task, folder, channel)
    if isinstance(task, AnswerTask):
        from ptune_tui.worker.answer import answer

        return answer(task, channel)
    if isinstance(task, InspectTask):
        from ptune_tui.worker.inspect_prompt import inspect_prompt

        return inspect_prompt(task, folder, channel)
    if isinstance(task, ExportTask):
        from ptune_tui.worker.export import export

        return export(task, channel)
    if isinstance(task, BenchTrainTask):
        from ptune_tui.worker.bench.train import bench_train

        return bench_train(task, folder, channel)
    if isinstance(task, BenchRunTask):
        from ptune_tui.worker.bench.run import bench_run

        return bench_run(task, folder, channel)
    if isinstance(task, TokenizerTask):
        from ptune_tui.worker.tokenizer import read_tokenizer

        return read_tokenizer(task)
    from ptune_tui.worker.preview import preview

    return preview(task, channel)
