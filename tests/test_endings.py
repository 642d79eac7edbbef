"""How a worker ends that runs out of something: in its own words, or in its follower's."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptune_tui import endings
from ptune_tui.config import DataConfig, ModelConfig, RunConfig
from ptune_tui.endings import ending_without_a_word, saved_words
from ptune_tui.events import (
    CheckpointSaved,
    Event,
    LineFollower,
    StateSaved,
    TaskFailed,
    decode_event,
    encode_line,
)
from ptune_tui.tasks import (
    EVENTS_FILE,
    LOCK_FILE,
    TASK_FILE,
    FindRateTask,
    PreviewTask,
    TrainTask,
    write_task,
)
from ptune_tui.worker import main
from ptune_tui.worker.channel import Channel

SAVED = [CheckpointSaved(50, "run/adapter", 0.9, is_best=True), StateSaved(60, "run/checkpoints")]


def write_events(folder: Path, *events: Event) -> None:
    (folder / EVENTS_FILE).write_bytes(b"".join(map(encode_line, events)))


def last_event(folder: Path) -> Event:
    return [decode_event(line) for line in LineFollower(folder / EVENTS_FILE).new_lines()][-1]


def test_what_is_saved_is_read_past_damaged_lines(tmp_path: Path) -> None:
    assert saved_words(tmp_path) == ""
    write_events(tmp_path, StateSaved(0, "s"))
    assert saved_words(tmp_path) == ""  # a state before the first step is nothing to go on from
    write_events(tmp_path, *SAVED)
    with (tmp_path / EVENTS_FILE).open("ab") as file:
        file.write(b'\xff\n{"type":"StateSav')
    said = saved_words(tmp_path)
    assert said == (
        "The prompt of step 50 is in run/adapter. "
        f"`ptune train --resume {tmp_path}` goes on from step 60."
    )


@pytest.mark.parametrize(
    ("code", "category", "words"),
    [
        (None, "fault", "it was killed, or the machine went down"),
        (-signal.SIGKILL, "resources", "killed: by somebody, or by the system"),
        (-signal.SIGSEGV, "fault", f"signal {signal.SIGSEGV:d} (SIGSEGV)"),
        (6, "resources", "exit code 6"),
        (77, "fault", "exit code 77"),
    ],
)
def test_exit_codes_are_told_apart(
    code: int | None, category: str, words: str, tmp_path: Path
) -> None:
    write_task(tmp_path, TrainTask(RunConfig()))
    ending = ending_without_a_word(tmp_path, code)
    assert ending.category == category
    assert words in ending.message
    assert "Nothing was saved." in ending.hint
    write_events(tmp_path, *SAVED)
    assert "goes on from step 60" in ending_without_a_word(tmp_path, code).hint


def test_only_of_a_training_it_is_said_what_is_saved_and_how_it_takes_less(tmp_path: Path) -> None:
    write_task(tmp_path, PreviewTask(ModelConfig(), DataConfig()))
    hint = ending_without_a_word(tmp_path, -signal.SIGKILL).hint
    assert hint == "Where it was memory: end other programs, and try again."
    write_task(tmp_path, FindRateTask(RunConfig()))
    hint = ending_without_a_word(tmp_path, -signal.SIGKILL).hint
    assert "--batch-size" in hint
    assert "saved" not in hint
    (tmp_path / TASK_FILE).write_text("{")
    assert "Where it was memory" in ending_without_a_word(tmp_path, -signal.SIGKILL).hint


def test_a_full_disk_and_a_folder_that_is_gone_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "free_disk_bytes", lambda _: 0)
    write_task(tmp_path, TrainTask(RunConfig()))
    assert "disk is full" in ending_without_a_word(tmp_path, 1).message
    gone = ending_without_a_word(tmp_path / "gone", 1)
    assert f"{tmp_path / 'gone'} was deleted or moved" in gone.message
    (tmp_path / "gone" / "adapter").mkdir(parents=True)  # which is no run
    assert ending_without_a_word(tmp_path / "gone", 1) == gone


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A worker's folder; what it would do is to save something and then to fail."""
    write_task(tmp_path, TrainTask(RunConfig()))
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def events_of(*_: object) -> Iterator[Event]:
        yield from SAVED
        raise error

    monkeypatch.setattr(main, "events_of", events_of)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 6, "Out of memory."),
        (OSError(28, "No space left on device", "run/checkpoints"), 6, "No space left"),
        (OSError(errno.ENOMEM, "Cannot allocate memory", "model.data"), 6, "Out of memory."),
        (RuntimeError("std::bad_alloc"), 6, "Out of memory."),
        (KeyboardInterrupt(), 130, "The worker was told to end"),
    ],
)
def test_worker_that_runs_out_says_what_is_saved(
    error: BaseException, code: int, words: str, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    assert main.run_folder(work) == code
    last = last_event(work)
    assert isinstance(last, TaskFailed)
    assert words in last.message
    assert "The prompt of step 50 is in run/adapter." in last.hint
    assert f"--resume {work}` goes on from step 60." in last.hint
    assert not (work / LOCK_FILE).exists()


def test_worker_that_ends_before_it_saved_says_so_and_how_to_begin_again(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told to end with SIGTERM, and once torch really has no memory for it."""

    def told_to_end(*_: object) -> Iterator[Event]:
        (work / "config.toml").write_text("")
        os.kill(os.getpid(), signal.SIGTERM)
        yield StateSaved(0, "run/checkpoints")
        time.sleep(30)

    def too_large(*_: object) -> Iterator[Event]:
        import torch

        yield StateSaved(0, "run/checkpoints")
        torch.empty(1 << 50)

    again = f"Nothing was saved. `ptune train {work / 'config.toml'}` begins again."
    for events_of, category in ((told_to_end, "interrupted"), (too_large, "resources")):
        monkeypatch.setattr(main, "events_of", events_of)
        main.run_folder(work)
        last = last_event(work)
        assert isinstance(last, TaskFailed)
        assert last.category == category
        assert last.hint.endswith(again)
    assert "--batch-size" in last.hint


def test_worker_whose_events_fit_on_no_disk_ends_all_the_same(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Channel, "say", full)
    failing(monkeypatch, AssertionError("it was to end before"))
    assert main.run_folder(work) == 6
    assert not (work / EVENTS_FILE).read_bytes()
    assert "No space left on device" in capsys.readouterr().err  # its log
    assert not (work / LOCK_FILE).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX")
def test_event_that_did_not_fit_is_whole_or_absent(tmp_path: Path) -> None:
    """A child may write 300 bytes; its second event does not fit, and then it may write more."""
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from ptune_tui.events import Notice, TaskFailed\n"
        "from ptune_tui.worker.channel import Channel\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))\n"
        "channel = Channel(Path(sys.argv[1]))\n"
        "channel.say(Notice('first', 'x' * 100))\n"
        "try:\n    channel.say(Notice('second', 'y' * 400))\n"
        "except OSError as error:\n    print(error.errno)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "channel.say_if_possible(TaskFailed('resources', 'No space.', '', ''))\n"
        "channel.close()\n"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "27"  # EFBIG, which is what a limit says
    lines = list(LineFollower(tmp_path / EVENTS_FILE).new_lines())
    assert [type(decode_event(line)).__name__ for line in lines] == [
        "Notice",
        "Notice",
        "TaskFailed",
    ]
