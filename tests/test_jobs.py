"""The parent's side of a worker, against fake workers that are real processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from ptune_tui import jobs, locks
from ptune_tui.config import RunConfig
from ptune_tui.errors import UsageError
from ptune_tui.events import (
    CheckpointSaved,
    EvaluateNow,
    Notice,
    Stop,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    decode_command,
    encode_line,
)
from ptune_tui.tasks import COMMANDS_FILE, EVENTS_FILE, LOCK_FILE, Lock, TrainTask

TASK = TrainTask(RunConfig())
FINISHED = TaskFinished(seconds=1.0)
PROLOGUE = """
import os, pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
def say(text):
    with open(folder / "events.jsonl", "ab") as file:
        file.write(text)
"""

StartFake = Callable[[str], jobs.Job]


@pytest.fixture
def start_fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartFake]:
    """Starts a worker that runs the given lines; kills it at the end."""
    started: list[jobs.Job] = []

    def start(script: str) -> jobs.Job:
        command = [sys.executable, "-c", PROLOGUE + script, str(tmp_path)]
        monkeypatch.setattr(jobs, "worker_command", lambda _: command)
        job = jobs.start(tmp_path, TASK)
        started.append(job)
        return job

    yield start
    for job in started:
        job.kill()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def saying(*events: object) -> str:
    return f"say({b''.join(encode_line(event) for event in events)!r})\n"  # type: ignore[arg-type]


def test_worker_is_started_without_the_working_folder_on_its_path(tmp_path: Path) -> None:
    command = jobs.worker_command(tmp_path)
    assert command == [sys.executable, "-P", "-m", "ptune_tui.worker", str(tmp_path)]


def test_events_are_followed_to_the_last(start_fake: StartFake) -> None:
    events = [TaskStarted(1.0, 1, "train"), Notice("a", "b"), FINISHED]
    job = start_fake(saying(*events[:2]) + "time.sleep(0.2)\n" + saying(events[2]))
    assert list(jobs.follow(job, poll_seconds=0.01)) == events
    assert job.final_event() == FINISHED


def test_an_attached_run_that_was_resumed_is_followed_past_its_earlier_ending(
    start_fake: StartFake, tmp_path: Path
) -> None:
    started = [TaskStarted(1.0, 1, "train"), TaskStarted(2.0, 2, "train")]
    (tmp_path / EVENTS_FILE).write_bytes(encode_line(started[0]) + encode_line(FINISHED))
    own = start_fake("time.sleep(0.5)\n" + saying(started[1], Notice("a", "b"), FINISHED))
    attached = jobs.attach(tmp_path)
    expected = [started[0], FINISHED, started[1], Notice("a", "b"), FINISHED]
    assert list(jobs.follow(attached, 0.01)) == expected
    assert list(jobs.follow(own, 0.01)) == expected[2:]


def test_worker_gets_its_environment_and_no_terminal(start_fake: StartFake, tmp_path: Path) -> None:
    job = start_fake(
        'print(os.environ["ORT_DISABLE_TELEMETRY"], repr(sys.stdin.read()), flush=True)\n'
        'print("a complaint", file=sys.stderr)\n' + saying(FINISHED)
    )
    list(jobs.follow(job, 0.01))
    assert job.log_path.read_text().split("\n")[:2] == ["1 ''", "a complaint"]


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX")
def test_worker_has_a_session_of_its_own(start_fake: StartFake) -> None:
    job = start_fake("time.sleep(60)")
    assert job.pid is not None
    assert os.getsid(job.pid) == job.pid != os.getsid(0)


def test_worker_that_dies_silently_fails_with_what_was_saved(start_fake: StartFake) -> None:
    saved = CheckpointSaved(step=50, path="best.safetensors", accuracy=0.5, is_best=True)
    job = start_fake(saying(saved) + "os._exit(9)")
    *_, last = jobs.follow(job, 0.01)
    assert isinstance(last, TaskFailed)
    assert "without a word" in last.message
    assert "step 50" in last.hint
    assert last.log_path == str(job.log_path)
    assert job.final_event() is None


def test_lines_that_cannot_be_decoded_are_counted(start_fake: StartFake) -> None:
    job = start_fake('say(b\'{"type":"InventedLater"}\\n\')\n' + saying(FINISHED))
    assert list(jobs.follow(job, 0.01)) == [FINISHED]
    assert job.num_undecodable_lines == 1


def test_commands_are_appended(start_fake: StartFake, tmp_path: Path) -> None:
    (tmp_path / COMMANDS_FILE).write_bytes(b"left by an earlier worker\n")
    job = start_fake("time.sleep(60)")
    job.send(EvaluateNow())
    job.send(Stop(save=True))
    lines = (tmp_path / COMMANDS_FILE).read_bytes().splitlines()
    assert [decode_command(line) for line in lines] == [EvaluateNow(), Stop(save=True)]


def test_second_start_in_a_folder_is_refused_until_the_first_ends(
    start_fake: StartFake,
) -> None:
    first = start_fake("time.sleep(60)")
    with pytest.raises(UsageError, match=str(first.pid)):
        start_fake("")
    first.kill()
    assert not first.is_alive()
    list(jobs.follow(start_fake(saying(FINISHED)), 0.01))


def test_events_of_an_earlier_worker_are_not_the_new_ones(
    start_fake: StartFake, tmp_path: Path
) -> None:
    (tmp_path / EVENTS_FILE).write_bytes(encode_line(TaskFailed("fault", "old", "", "")))
    job = start_fake("time.sleep(0.1)\n" + saying(FINISHED))
    assert list(jobs.follow(job, 0.01)) == [FINISHED]
    assert job.final_event() == FINISHED


def test_events_that_a_worker_writes_at_once_are_not_taken_for_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / EVENTS_FILE).write_bytes(encode_line(TaskFailed("fault", "old", "", "")))
    real = jobs._spawn

    def spawn(folder: Path) -> subprocess.Popen[bytes]:
        process = real(folder)
        process.wait(20)  # the parent is slow, and the worker is done before it looks
        return process

    monkeypatch.setattr(jobs, "_spawn", spawn)
    command = [sys.executable, "-c", PROLOGUE + saying(FINISHED), str(tmp_path)]
    monkeypatch.setattr(jobs, "worker_command", lambda _: command)
    assert list(jobs.follow(jobs.start(tmp_path, TASK), 0.01)) == [FINISHED]


def test_attached_job_reads_from_the_first_event_and_can_end_the_worker(
    start_fake: StartFake, tmp_path: Path
) -> None:
    start_fake(saying(Notice("a", "b")) + "time.sleep(60)")
    attached = jobs.attach(tmp_path)
    assert attached.is_alive()
    wait_for((tmp_path / EVENTS_FILE).exists)
    assert next(jobs.follow(attached, 0.01)) == Notice("a", "b")
    attached.kill()
    assert not attached.is_alive()
    assert not locks.lock_is_held(tmp_path)


def test_attaching_to_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone"):
        jobs.attach(tmp_path / "gone")
    assert not jobs.attach(tmp_path).is_alive()


def test_killing_ends_the_stubborn_and_their_children(
    start_fake: StartFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "KILL_AFTER_SECONDS", 0.3)
    script = """
if hasattr(signal, "SIGTERM"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
(folder / "part").write_text(str(child.pid))
(folder / "part").rename(folder / "child")
time.sleep(60)
"""
    job = start_fake(script)
    wait_for((tmp_path / "child").exists)
    child = psutil.Process(int((tmp_path / "child").read_text()))
    job.kill()
    assert not job.is_alive()

    def child_is_gone() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return child.status() == psutil.STATUS_ZOMBIE
        return True

    wait_for(child_is_gone)


def test_lock_of_a_number_that_was_given_again_is_not_held(tmp_path: Path) -> None:
    lock = locks.write_lock(tmp_path)
    assert locks.lock_is_held(tmp_path)
    earlier = msgspec.structs.replace(lock, process_start=lock.process_start - 60)
    (tmp_path / LOCK_FILE).write_bytes(msgspec.json.encode(earlier))
    assert not locks.lock_is_held(tmp_path)
    locks.remove_lock(tmp_path)
    assert locks.read_lock(tmp_path) is None


def test_damaged_lock_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(b'{"pid": ')
    assert not locks.lock_is_held(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="zombies are POSIX")
def test_zombie_holds_no_lock(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        lock = locks.write_lock(tmp_path, process.pid)
        assert locks.lock_is_held(tmp_path)
        process.kill()
        wait_for(lambda: locks.process_of(lock) is None)
        assert isinstance(lock, Lock)


def test_following_needs_nothing_heavy() -> None:
    heavy = "torch transformers onnxruntime numpy ptune_tui.engine ptune_tui.worker quant export"
    script = (
        "import sys, ptune_tui.jobs, ptune_tui.runs, ptune_tui.models, ptune_tui.doctor\n"
        f"sys.exit(', '.join(set({heavy.split()!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == ""
