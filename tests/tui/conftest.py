from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from pytest_textual_snapshot import SVGImageExtension, normalize_svg
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from ptune_tui import chats, jobs
from ptune_tui.events import Event
from ptune_tui.hardware import Machine
from ptune_tui.tui import export_check, fitting
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.fitting import FitLine
from ptune_tui.tui.screens import export, setup
from tests.tui import fakes
from tests.tui.pictures import Compare, Prepare, clock
from tests.tui.stored_pictures import differences, wait_for_picture

UseWorker = Callable[..., None]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, a machine that is always the same, and no default model."""
    monkeypatch.setenv("PTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    line = FitLine("fits", "fits: 2.4 GB of 16.0 GB free (cached, 32 x 110 tokens)")
    monkeypatch.setattr(setup, "fit_line", lambda _: line)
    assert fitting.fit_line is not setup.fit_line
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by itself meanwhile
            child.kill()


@pytest.fixture
def snap_compare(snap_compare: Compare, snapshot: SnapshotAssertion) -> Compare:
    """The plug-in's, with time for the picture to be drawn, and words where it is another one."""
    stored = SVGImageExtension.get_location(test_location=snapshot.test_location, index=0)
    if snapshot.update_snapshots or not Path(stored).exists():
        return snap_compare
    expected = normalize_svg(Path(stored).read_text(encoding="utf-8"))

    def compare(
        app: PTuneApp,
        *,
        terminal_size: tuple[int, int] = (80, 24),
        run_before: Prepare | None = None,
        press: Sequence[str] = (),
    ) -> bool:
        seen = ""

        async def prepare(pilot: Pilot[None]) -> None:
            nonlocal seen
            if run_before is not None:
                await run_before(pilot)
            await pilot.pause()
            await pilot.press(*press)
            seen = await wait_for_picture(pilot, expected)

        is_same = snap_compare(app, run_before=prepare, terminal_size=terminal_size)
        if not is_same:
            pytest.fail(f"another picture than {stored}:\n{differences(expected, seen)}")
        return is_same

    return compare


@pytest.fixture
def use_worker(monkeypatch: pytest.MonkeyPatch) -> UseWorker:
    """Makes `jobs.start` start a worker that says some events and then runs a script."""

    def use(events: list[Event], script: str = "") -> None:
        monkeypatch.setattr(
            jobs, "worker_command", lambda folder: fakes.worker_command(folder, events, script)
        )

    return use


@pytest.fixture
def fake_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(_: Path, prompt: str | None, precision: str | None) -> list[str]:
        options = {"--prompt": prompt, "--precision": precision}
        said = [word for pair in options.items() if pair[1] for word in pair if word]
        return [sys.executable, "-c", fakes.CHAT, *said]

    monkeypatch.setattr(chats, "chat_command", command)


@pytest.fixture
def some_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all runs, with one of each kind in it; its path is the same in every test."""
    monkeypatch.setenv("PTUNE_HOME", home.name)
    return fakes.write_runs(Path(home.name) / "runs")


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 3 GiB, without a compiler."""
    here = Machine(2, 2, "some", (), 8 << 30, 3 << 30, 12 << 30, None)
    monkeypatch.setattr(fitting, "machine", lambda: here)
    monkeypatch.setattr(fitting, "compiles_passes", lambda: False)


@pytest.fixture
def some_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data files in the working folder, whose path reads the same in every test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    rows = "".join(f"text {number},{'bad' if number % 3 else 'good'}\n" for number in range(12))
    (tmp_path / "a.csv").write_text(f"text,sentiment\n{rows}")
    (tmp_path / "broken.jsonl").write_text('{"prompt": "a", "response": "b"}\n{broken\n')
    (tmp_path / "notes.txt").write_text("")


@pytest.fixture
def export_app(home: Path, monkeypatch: pytest.MonkeyPatch) -> PTuneApp:
    """The place Export with a run that has ended, on a disk that is always as full."""
    fakes.write_run(home / "runs" / "one", fakes.finished())
    destination = "/home/user/runs/one/bundle"
    monkeypatch.setattr(export, "default_destination", lambda *_: destination)
    monkeypatch.setattr(export_check, "free_disk_bytes", lambda _: 12 << 30)
    return PTuneApp("export", clock=clock)


@pytest.fixture
def compare_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that has ended, with a bundle; its path is the same in every test."""
    monkeypatch.setenv("PTUNE_HOME", home.name)
    run = fakes.write_run(Path(home.name) / "runs" / "one", fakes.finished())
    (run / "adapter" / "prompt.json").write_text('{"labels": ["account", "billing", "returns"]}')
    fakes.write_bundle(run / "bundle")
    return run
