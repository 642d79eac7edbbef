"""The events of a run without the app: in words, and as JSON lines."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from ptune_tui import jobs
from ptune_tui.cli.display import JsonDisplay, PlainDisplay
from ptune_tui.cli.work import work
from ptune_tui.config import RunConfig
from ptune_tui.events import (
    Continued,
    Event,
    Paused,
    SampleMade,
    TaskFinished,
    TaskStarted,
    decode_event,
)
from ptune_tui.tasks import EVENTS_FILE, TrainTask
from tests.tui import fakes

SAID: list[Event] = [
    *fakes.beginning(),
    *(fakes.step(number) for number in range(1, 6)),
    Paused(5),
    Continued(5, 61.0),
    SampleMade(5, "say it", "a very " + "long " * 20, "another\ntext"),
    TaskFinished(9.0),
]


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "worker_command", lambda folder: fakes.worker_command(folder, SAID))


def test_json_has_every_event_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    followed = work(tmp_path, TrainTask(RunConfig()), JsonDisplay())
    lines = out.buffer.getvalue().splitlines()  # type: ignore[attr-defined]
    told = [decode_event(line) for line in lines]
    assert isinstance(told[0], TaskStarted)
    assert told == fakes.said_by(told[0].pid, SAID) == followed
    assert lines == (tmp_path / EVENTS_FILE).read_bytes().splitlines()


def test_plain_tells_of_pauses_and_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work(tmp_path, TrainTask(RunConfig()), PlainDisplay())
    said = capsys.readouterr().err.splitlines()
    assert any("paused after step 5" in line for line in said)
    assert any("goes on after step 5, paused for 61 s" in line for line in said)
    assert "    right  account  <- My login works at home and not at work." in said
    wrong = next(line for line in said if "another text" in line)
    assert wrong.startswith("    wrong  another text (expected a very long long")
    assert len(wrong) < 140
