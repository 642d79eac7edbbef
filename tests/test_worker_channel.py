"""The worker's end of the files."""

from __future__ import annotations

from pathlib import Path

from ptune_tui.events import (
    EvaluateNow,
    LineFollower,
    Notice,
    StageProgress,
    Stop,
    decode_event,
    encode_line,
)
from ptune_tui.jobs import KEPT_TASKS, new_task_folder
from ptune_tui.tasks import COMMANDS_FILE, EVENTS_FILE
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
