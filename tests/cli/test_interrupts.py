"""Signals to a command: its worker ends with it, and training alone goes on by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import psutil
import pytest

from export.at_once import remove_unfinished
from ptune_tui import jobs
from ptune_tui.cli.display import JsonDisplay, SilentDisplay
from ptune_tui.cli.work import work
from ptune_tui.config import DataConfig, RunConfig
from ptune_tui.events import Event
from ptune_tui.locks import lock_is_held, own_lock
from ptune_tui.tasks import COMMANDS_FILE, EVENTS_FILE, ExportTask, Task, TrainTask, read_task
from tests.export.conftest import train_and_export
from tests.tui import fakes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
EXPORT = ExportTask("run", "nowhere", "mine")
TRAIN = TrainTask(RunConfig())


@pytest.fixture(autouse=True)
def _nothing_is_ignored() -> Iterator[None]:
    """A suite that a shell started behind `&` ignores Ctrl-C, and so would what it tests."""
    kinds = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in kinds.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def worked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Event]]:
    """Follows a worker that runs a script, and gets signals once that has begun."""

    def run(task: Task, script: str, *numbers: int, gap: float = 0.2) -> list[Event]:
        command = fakes.worker_command(tmp_path, fakes.beginning(), script)
        monkeypatch.setattr(jobs, "worker_command", lambda _: command)

        def send() -> None:
            while not (tmp_path / EVENTS_FILE).is_file():
                time.sleep(0.01)
            time.sleep(0.2)
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(gap)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            return work(tmp_path, task, SilentDisplay())
        finally:
            sender.join()

    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_worker(
    worked: Callable[..., list[Event]], tmp_path: Path, number: int
) -> None:
    before = signal.getsignal(number)
    # `timeout` sends it twice.
    with pytest.raises(KeyboardInterrupt):
        worked(EXPORT, fakes.FOREVER, number, number, gap=0.0)
    assert not lock_is_held(tmp_path)
    assert signal.getsignal(number) is before


def test_an_export_says_which_command_waits_for_it(
    worked: Callable[..., list[Event]], tmp_path: Path
) -> None:
    worked(EXPORT, 'say(b\'{"type":"TaskFinished","seconds":1.0}\\n\')\n')
    task = read_task(tmp_path)
    assert isinstance(task, ExportTask)
    assert task.owner == own_lock()


def test_a_signal_stops_training_and_its_echo_does_not_kill_it(
    worked: Callable[..., list[Event]], tmp_path: Path
) -> None:
    events = worked(TRAIN, fakes.OBEY, signal.SIGTERM, signal.SIGTERM, gap=0.02)
    assert events[-1].stopped_early  # type: ignore[union-attr]
    assert (tmp_path / COMMANDS_FILE).read_bytes().count(b'"Stop"') == 1


def test_an_interrupt_while_the_worker_starts_stops_training_and_saves(
    worked: Callable[..., list[Event]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits until the run is noted, and then asks as any first one does."""
    monkeypatch.setattr(
        "ptune_tui.cli.work.remember_run", lambda _: os.kill(os.getpid(), signal.SIGINT)
    )
    events = worked(TRAIN, fakes.OBEY)
    assert events[-1].stopped_early  # type: ignore[union-attr]
    assert (tmp_path / COMMANDS_FILE).read_bytes().count(b'"Stop"') == 1


def test_a_second_interrupt_ends_training(
    worked: Callable[..., list[Event]], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        worked(TRAIN, fakes.FOREVER, signal.SIGINT, signal.SIGINT)
    assert not lock_is_held(tmp_path)


@pytest.mark.parametrize("task", [EXPORT, TRAIN])
def test_an_error_of_the_command_ends_all_but_training(
    worked: Callable[..., list[Event]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: Task,
) -> None:
    def fault(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(SilentDisplay, "show", fault)
    with pytest.raises(ValueError):  # noqa: PT011
        worked(task, fakes.FOREVER)
    try:
        assert lock_is_held(tmp_path) == (task is TRAIN)
    finally:
        jobs.attach(tmp_path).kill()


@contextmanager
def unread() -> Iterator[None]:
    """Within it the reader of standard output is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out, redirect_stdout(out):
        yield


def test_training_stops_and_saves_when_nobody_reads_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = fakes.worker_command(tmp_path, fakes.beginning(), fakes.OBEY)
    monkeypatch.setattr(jobs, "worker_command", lambda _: command)
    with unread():
        events = work(tmp_path, TRAIN, JsonDisplay())
    assert events[-1].stopped_early  # type: ignore[union-attr]
    assert (tmp_path / COMMANDS_FILE).read_bytes().count(b'"Stop"') == 1
    assert "Nobody reads the output any more. Stopping after" in capsys.readouterr().err


def test_other_work_is_ended_when_nobody_reads_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = fakes.worker_command(tmp_path, fakes.beginning(), fakes.FOREVER)
    monkeypatch.setattr(jobs, "worker_command", lambda _: command)
    with unread(), pytest.raises(KeyboardInterrupt):
        work(tmp_path, EXPORT, JsonDisplay())
    assert not lock_is_held(tmp_path)
    assert "The work is ended." in capsys.readouterr().err


def test_what_is_ignored_stays_ignored(worked: Callable[..., list[Event]]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            worked(EXPORT, fakes.FOREVER, signal.SIGHUP, signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_a_killed_writer_left_is_taken_away(tmp_path: Path) -> None:
    for name in (".bundle.7.part", "bundle/.adding.7.part", ".other.7.part"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("half")
    remove_unfinished(tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.7.part", "bundle"]
    assert list((tmp_path / "bundle").iterdir()) == []


def test_an_export_that_is_ended_leaves_no_process_and_no_folder(
    tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    run = train_and_export(tmp_path, tiny_model, DataConfig(train=str(label_rows))).run
    out = tmp_path / "out" / "bundle"
    process = subprocess.Popen(
        [sys.executable, "-m", "ptune_tui", "export", str(run), "--out", str(out)],
        env={**os.environ, "PTUNE_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
    )
    try:
        while not list(out.parent.glob(".bundle.*.part")):
            assert process.poll() is None
            time.sleep(0.005)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []
        assert list(out.parent.iterdir()) == []
    finally:
        process.kill()
        process.wait()
