"""The worker's end of the files."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptune_tui.config import DataConfig, ModelConfig, RunConfig
from ptune_tui.events import (
    EvaluateNow,
    Event,
    LineFollower,
    Notice,
    StageFinished,
    StageProgress,
    StageStarted,
    Stop,
    TaskFailed,
    decode_event,
    encode_line,
)
from ptune_tui.jobs import KEPT_TASKS, attach, new_task_folder
from ptune_tui.lineup import Lineup
from ptune_tui.locks import own_lock
from ptune_tui.tasks import (
    COMMANDS_FILE,
    EVENTS_FILE,
    AnswerTask,
    CompareTask,
    PreviewTask,
    TrainTask,
    write_task,
)
from ptune_tui.worker import main
from ptune_tui.worker.channel import Channel


def test_a_line_that_a_killed_worker_left_half_written_does_not_swallow_the_next(
    tmp_path: Path,
) -> None:
    (tmp_path / EVENTS_FILE).write_bytes(b'{"type":"Notice","co')
    channel = Channel(tmp_path)
    channel.say(Notice("code", "words"))
    channel.close()
    half, whole = LineFollower(tmp_path / EVENTS_FILE).new_lines()
    assert half == b'{"type":"Notice","co'
    assert decode_event(whole) == Notice("code", "words")


def test_commands_are_read_once_and_nonsense_is_left_out(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    assert channel.commands() == []
    lines = [encode_line(EvaluateNow()), b"nonsense\n", encode_line(Stop(save=True))]
    (tmp_path / COMMANDS_FILE).write_bytes(b"".join(lines))
    assert channel.commands() == [EvaluateNow(), Stop(save=True)]
    assert channel.commands() == []


def test_progress_is_thinned_out_but_its_end_is_always_said(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    for done in range(1, 1001):
        channel.progress(StageProgress("load", done, 1000))
    events = [decode_event(line) for line in LineFollower(tmp_path / EVENTS_FILE).new_lines()]
    assert 2 <= len(events) < 50
    assert events[-1] == StageProgress("load", 1000, 1000)


def test_old_task_folders_are_removed() -> None:
    made = [new_task_folder(f"n{number:02d}") for number in range(KEPT_TASKS + 5)]
    assert sum(folder.exists() for folder in made) == KEPT_TASKS
    assert made[-1].exists()


@pytest.mark.parametrize("is_training", [True, False])
def test_what_a_worker_imports_is_a_stage_where_it_is_torch(
    is_training: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def events_of(*_: object) -> Iterator[Event]:
        time.sleep(0.05)  # imports
        return iter(())

    monkeypatch.setattr(main, "events_of", events_of)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest keeps its own
    task = TrainTask(RunConfig()) if is_training else PreviewTask(ModelConfig(), DataConfig())
    write_task(tmp_path, task)
    assert main.run_folder(tmp_path) == 0
    said = [decode_event(line) for line in LineFollower(tmp_path / EVENTS_FILE).new_lines()]
    stages = [event for event in said if isinstance(event, StageStarted | StageFinished)]
    if not is_training:
        assert stages == []
        return
    begun, done = stages
    assert (begun.stage, begun.detail) == ("import", "torch")
    assert isinstance(done, StageFinished)
    assert done.seconds >= 0.05


def exit_code_of(run: Path) -> int:
    """The worker's, which takes signals over; they are given back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        return main.run_folder(run)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_worker_whose_folder_was_deleted_ends_and_makes_no_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    write_task(run, TrainTask(RunConfig()))
    said: list[int] = []

    def work(*_: object) -> Iterator[Event]:
        shutil.rmtree(run)
        for number in range(3):
            said.append(number)
            yield Notice("code", "words")

    monkeypatch.setattr(main, "events_of", work)
    assert exit_code_of(run) == 6
    assert said == [0]
    assert f"The folder {run} was deleted" in capfd.readouterr().err
    assert not run.exists()


def test_a_worker_whose_folder_was_moved_says_so_where_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, now = tmp_path / "run", tmp_path / "now"
    write_task(run, TrainTask(RunConfig()))

    def work(*_: object) -> Iterator[Event]:
        run.rename(now)
        yield Notice("code", "words")
        (run / "adapter").mkdir()

    monkeypatch.setattr(main, "events_of", work)
    assert exit_code_of(run) == 6
    last = [decode_event(line) for line in LineFollower(now / EVENTS_FILE).new_lines()][-1]
    assert isinstance(last, TaskFailed)
    assert last.message == f"The folder {run} was deleted or moved."
    assert not run.exists()


def test_a_command_makes_no_folder_and_no_file_for_a_run_that_is_gone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_task(run, TrainTask(RunConfig()))
    job = attach(run)
    job.send(Stop(save=True))
    shutil.rmtree(run)
    (run / "adapter").mkdir(parents=True)  # what another program left there
    with pytest.raises(FileNotFoundError):
        job.send(Stop(save=True))
    assert [path.name for path in run.iterdir()] == ["adapter"]


@pytest.mark.parametrize("task", [CompareTask, AnswerTask])
def test_a_comparison_in_torch_imports_it_where_it_says_so(
    task: type[CompareTask | AnswerTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_torch = "ptune_tui.worker.evaluate"
    monkeypatch.delitem(sys.modules, in_torch, raising=False)
    channel = Channel(tmp_path)
    known = {
        Lineup(bundle="b", keys=("base",), precisions=("fast",)): "what it computes with",
        Lineup(run="r", bundle="b", precisions=("fast",)): "what it computes with",
        Lineup(run="r", keys=("base",)): "torch",
    }
    for lineup, libraries in known.items():
        asked = task(lineup, None, "") if task is CompareTask else task(lineup, own_lock())
        main._begun(asked, tmp_path, channel)
        assert (in_torch in sys.modules) == (libraries == "torch")
        started, finished = list(LineFollower(tmp_path / EVENTS_FILE).new_lines())[-2:]
        assert isinstance(decode_event(finished), StageFinished)
        said = decode_event(started)
        assert isinstance(said, StageStarted)
        assert (said.stage, said.detail) == ("import", libraries)
    channel.close()
