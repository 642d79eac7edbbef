"""The real app in a pseudo-terminal: however it ends, the terminal is as it was before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from pseudo_terminal import PseudoTerminal

from ptune_tui.tui.terminal import TerminalWatch
from tests.tui import fakes

Open = Callable[..., PseudoTerminal]
# An app with a fault: the key of the help raises.
FAULTY = """
import sys
from ptune_tui.cli import main
from ptune_tui.tui.app import PTuneApp
def fault(self): raise ValueError("a [fault]")
PTuneApp.action_show_help = fault
sys.argv = ["ptune"]
main()
"""


@pytest.fixture
def open_app(home: Path) -> Iterator[Open]:
    """Starts `ptune`, or some code, in a terminal of its own."""
    opened: list[PseudoTerminal] = []

    def start(code: str | None = None) -> PseudoTerminal:
        words = ["-m", "ptune_tui"] if code is None else ["-c", code]
        environment = {"PTUNE_HOME": str(home), "HF_HUB_OFFLINE": "1"}
        opened.append(PseudoTerminal([sys.executable, *words], environment))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def test_ending_the_app_from_outside_puts_the_terminal_back(open_app: Open) -> None:
    terminal = open_app()
    terminal.wait_for("Start training")
    assert not terminal.is_sane
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.wait_for_end() == 128 + signal.SIGTERM
    assert terminal.is_sane


def test_a_fault_is_a_sentence_on_a_terminal_that_is_put_back(open_app: Open, home: Path) -> None:
    terminal = open_app(FAULTY)
    terminal.wait_for("Start training")
    terminal.press("?")
    assert terminal.wait_for_end() == 1
    assert terminal.is_sane
    assert "A fault of ptune ended the app: ValueError: a [fault]" in terminal.text
    assert "Runs and exports go on without it" in terminal.text
    assert "def fault" not in terminal.text
    assert "in fault" in (home / "tasks" / "app.log").read_text()


def test_losing_the_terminal_ends_the_app_and_not_the_run(open_app: Open, home: Path) -> None:
    run = fakes.write_run(home / "runs" / "one", fakes.running())
    worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        start = psutil.Process(worker.pid).create_time()
        lock = {"pid": worker.pid, "process_start": start}
        (run / "lock.json").write_text(json.dumps(lock))
        terminal = open_app()
        terminal.wait_for("running")
        terminal.press("enter")
        terminal.wait_for("120/300")
        terminal.hang_up()
        deadline = time.monotonic() + 20
        while terminal.process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert terminal.process.returncode == 128 + signal.SIGHUP
        assert worker.poll() is None
        os.kill(worker.pid, 0)
    finally:
        worker.kill()
        worker.communicate()


def test_a_hang_up_while_it_leaves_still_has_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[object] = []
    monkeypatch.setattr(threading.Timer, "start", lambda timer: timers.append(timer))
    codes: list[int] = []
    watch = TerminalWatch(codes.append)
    watch._end(128 + signal.SIGTERM)
    watch._give_up()
    watch._give_up()
    assert watch.is_lost
    assert len(timers) == 1
    assert codes == [128 + signal.SIGTERM]


def test_shrinking_the_terminal_shows_a_sentence_and_growing_it_the_place(open_app: Open) -> None:
    terminal = open_app()
    terminal.wait_for("Start training")
    terminal.resize((50, 15))
    terminal.wait_for("This terminal is 50 x 15; ptune needs 60 x 20.")
    terminal.resize((3, 1))
    terminal.resize((80, 24))
    terminal.wait_for("Start training")
    terminal.press("q")
    assert terminal.wait_for_end() == 0
    assert terminal.is_sane
