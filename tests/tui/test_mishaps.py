"""What goes wrong around the app: it says what happened, what was saved and what to do."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from ptune_tui import endings
from ptune_tui.config import RunConfig
from ptune_tui.events import (
    Diverged,
    EvaluationDone,
    Event,
    RolledBack,
    TaskFailed,
    encode_line,
)
from ptune_tui.jobs import Job
from ptune_tui.locks import write_lock
from ptune_tui.tasks import EVENTS_FILE
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.screens.questions import HelpScreen, LeaveScreen
from ptune_tui.tui.screens.runs import RunsScreen
from ptune_tui.tui.screens.train import TrainScreen
from ptune_tui.tui.session import Session
from ptune_tui.tui.widgets.run_panels import Problem
from ptune_tui.tui.widgets.run_table import RunTable
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.helpers import opened, run_folder, settled, wait_for

DIE = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"


def written(app: PTuneApp, widget: str) -> str:
    return str(app.screen.query_one(widget, Static).render())


def start(app: PTuneApp) -> None:
    app.session.start_run(RunConfig())
    app.refresh_place()


async def problem_of(app: PTuneApp, pilot: Pilot[None]) -> str:
    await wait_for(pilot, lambda: app.screen.query_one(Problem).display)
    return written(app, "#problem")


async def test_killed_worker_says_what_is_saved_and_how_to_go_on(use_worker: UseWorker) -> None:
    use_worker(fakes.running(), DIE)
    app = PTuneApp("train")
    async with opened(app, size=(80, 24)) as pilot:
        start(app)
        text = await problem_of(app, pilot)
        assert "killed: by somebody, or by the system, which ran out of memory" in text
        assert "The prompt of step 100 is in adapter" in text
        assert f"ptune train --resume {run_folder(app)}` goes on from step 100" in text
        assert "worker.log" in text
        assert "r goes on with the run" in written(app, "#ending")
        assert app.screen.check_action("resume", ()) is True


async def test_worker_on_a_full_disk_is_told_from_other_deaths(
    use_worker: UseWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(fakes.beginning(), "sys.exit(6)\n")
    monkeypatch.setattr(endings, "free_disk_bytes", lambda _: 4096)
    app = PTuneApp("train")
    async with opened(app, size=(80, 24)) as pilot:
        start(app)
        text = await problem_of(app, pilot)
        assert "The disk is full" in text
        assert "Free some space. Nothing was saved." in text


@pytest.mark.parametrize("left", [None, "adapter"])
async def test_deleted_folder_of_a_run_is_said_and_its_worker_can_be_ended(
    use_worker: UseWorker, left: str | None
) -> None:
    """Also where something of it is there again without the run."""
    use_worker(fakes.running(), fakes.FOREVER)
    app = PTuneApp("train")
    async with opened(app, size=(80, 24)) as pilot:
        start(app)
        await wait_for(pilot, lambda: app.session.run and app.session.run.state.step)
        run = app.session.run
        assert run is not None
        shutil.rmtree(run.job.folder)
        if left is not None:
            (run.job.folder / left).mkdir(parents=True)
        text = await problem_of(app, pilot)
        assert "was deleted or moved" in text
        assert f"kill {run.job.pid}" in text
        await pilot.press("s")
        await wait_for(pilot, lambda: not run.job.is_alive())
        await pilot.press("r")
        await pilot.pause()
        # No command makes a file in it, and a resume no new folder.
        assert run.job.folder.exists() == (left is not None)
        assert not [path for path in run.job.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("key", ["s", "e", "q"])
async def test_run_that_cannot_be_told_for_want_of_space(
    key: str, use_worker: UseWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "commands.jsonl")

    use_worker(fakes.running(), fakes.FOREVER)
    monkeypatch.setattr(Job, "send", full)
    app = PTuneApp("train")
    async with opened(app, size=(80, 24)) as pilot:
        start(app)
        await wait_for(pilot, lambda: app.session.run and app.session.run.state.step)
        await pilot.press(key)
        if key == "q":
            assert isinstance(app.screen, LeaveScreen)
            await pilot.press("s")
        await wait_for(pilot, lambda: app._notifications)
        assert "No space left" in next(iter(app._notifications)).message
        assert app.is_running
        assert app.session.is_training


async def test_run_that_cannot_be_written_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "task.json")

    monkeypatch.setattr("ptune_tui.jobs.write_task", full)
    app = PTuneApp("setup")
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.check_action("start", ()))
        await pilot.press("f5")
        await wait_for(pilot, lambda: app._notifications)
        assert "No space left" in next(iter(app._notifications)).message
        assert app.session.run is None


async def test_half_written_and_damaged_lines_are_waited_for_and_said(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.running(), is_held=True)
    last = encode_line(fakes.step(121))
    damaged = b'{"type":"StepDone","step":120,"max_st\n{"type":"StepDone","loss":null}\n'
    with (run / EVENTS_FILE).open("ab") as file:
        file.write(damaged + last[:40])
    app = PTuneApp(attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        assert app.session.run is not None
        assert app.session.run.state.step == fakes.step(120)
        assert "2 lines of its events are damaged" in written(app, "#notices")
        with (run / EVENTS_FILE).open("ab") as file:
            file.write(last[40:])
        await wait_for(pilot, lambda: app.session.run.state.step == fakes.step(121))
        assert "2 lines" in written(app, "#notices")
        assert app.screen.query_one(Problem).display is False


async def test_losses_that_are_not_finite_are_said_with_what_is_kept(tmp_path: Path) -> None:
    kept = "The best prompt (step 100) is kept in the run folder. Lower `--learning-rate`."
    events: list[Event] = [
        *fakes.running(),
        EvaluationDone(121, 132, 0.9, None, float("nan"), 1.0, tuned=True),
        Diverged(122, "loss"),
        RolledBack(122, 100, 0.004, "The loss of step 122 is not finite"),
        Diverged(101, "gradient"),
        TaskFailed("usage", "The gradient of step 101 is not finite.", kept, "worker.log"),
    ]
    run = fakes.write_run(tmp_path / "run", events)
    app = PTuneApp(attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        text = await problem_of(app, pilot)
        assert "is not finite" in text
        assert kept in text.replace("\n", " ")
        assert "went back to step 100" in written(app, "#notices")
        assert "best 88.6 %" in written(app, "#scores")


@pytest.mark.parametrize("key", ["f1", "q"])
async def test_small_terminal_hides_nothing_for_good(key: str, tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.running(), is_held=True)
    app = PTuneApp(attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press(key)
        before = app.screen
        for size in ((59, 24), (80, 19), (1, 1), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            small = app.screen_stack[0].query_one("#too-small", Static)
            assert small.display == (size[0] < 60 or size[1] < 20)
        assert app.screen is before
        await pilot.press("escape")
        assert isinstance(before, HelpScreen | LeaveScreen)
        await wait_for(pilot, lambda: isinstance(app.screen, TrainScreen))
        assert app.session.is_training


def test_worker_that_is_gone_only_after_its_last_event_is_drawn_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptune_tui.jobs.FRESH_SECONDS", 0.0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as worker:
        run = fakes.write_run(tmp_path / "run", fakes.said_by(worker.pid, fakes.finished()))
        write_lock(run, worker.pid)
        session = Session()
        session.attach(run)
        assert session.poll()
        assert session.is_training  # it might have been resumed
        worker.kill()
        worker.wait()
    assert not session.is_training
    assert session.poll()
    assert not session.poll()


@pytest.mark.usefixtures("fake_chat", "some_runs")
async def test_chat_s_child_ends_with_its_bundle() -> None:
    fakes.write_bundle(Path("home/runs/finished/bundle"))
    app = PTuneApp(clock=lambda: fakes.START + 5 * 3600)
    async with opened(app, size=(120, 40)) as pilot:
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await wait_for(pilot, lambda: screen.runs is not None)
        await settled(pilot)
        await pilot.press("down", "down", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, TrainScreen))
        app.action_show_place("chat")
        await wait_for(pilot, lambda: getattr(app.screen, "state", "") == "ready")
        child = app.session.talk.child
        assert child is not None
        app.action_show_place("runs")
        await wait_for(pilot, lambda: app.screen is screen)
        await wait_for(pilot, lambda: screen.check_action("delete", ()))
        await pilot.press("d", "y")
        names = screen.query_one(RunTable).rows
        await wait_for(pilot, lambda: len(names) == 4)
        await wait_for(pilot, lambda: child._process.returncode is not None)
        app.action_show_place("chat")
        await wait_for(pilot, lambda: app.screen.query_one("#no-bundle").display)


@pytest.mark.usefixtures("fake_chat")
async def test_chat_says_that_its_bundle_is_gone(tmp_path: Path) -> None:
    bundle = fakes.write_bundle(tmp_path / "bundle")
    app = PTuneApp("chat", bundle=bundle)
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: getattr(app.screen, "state", "") == "ready")
        child = app.session.talk.child
        assert child is not None
        shutil.rmtree(bundle)
        await pilot.press(*"hi", "enter")
        await wait_for(pilot, lambda: getattr(app.screen, "state", "") == "failed")
        assert "was deleted or moved" in written(app, "#chat-status")
        await wait_for(pilot, lambda: child._process.returncode is not None)
