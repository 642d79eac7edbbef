"""A picture of every place in states that one seldom sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from ptune_tui.events import TaskFailed, TaskFinished
from ptune_tui.tui.app import PTuneApp
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.helpers import settled, shown, wait_for
from tests.tui.pictures import Compare, both_sizes, clock, comparing, exporting, runs_after, settle

INTERRUPTED = TaskFailed(
    "interrupted",
    "Interrupted.",
    "The prompt of step 100 is in the run folder; `r` goes on with the run.",
    "/home/user/runs/one/worker.log",
)


@both_sizes
@pytest.mark.usefixtures("some_runs")
@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(("slash", *"support"), id="filtered"),
        pytest.param(("slash", *"nothing"), id="no-match"),
        pytest.param(("end", "d"), id="deleting"),
    ],
)
def test_runs(
    snap_compare: Compare,
    size: tuple[int, int],
    keys: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ptune_tui.runs._clock", lambda: fakes.START + 5 * 3600)
    app = PTuneApp("runs", clock=lambda: fakes.START + 5 * 3600)

    async def prepare(pilot: Pilot[None]) -> None:
        await runs_after()(pilot)
        for key in keys:
            await pilot.press(key)
        await pilot.pause(0.3)
        await settled(pilot)

    assert snap_compare(app, terminal_size=size, run_before=prepare)


@both_sizes
def test_setup_whose_preview_failed(
    snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker
) -> None:
    failure = TaskFailed("data", "rows.jsonl:3: this row has no `response`.", "Fill it in.", "/log")
    use_worker([failure])

    async def prepare(pilot: Pilot[None]) -> None:
        await settle(pilot)
        await pilot.press("f6")
        trials = pilot.app.session.trials  # type: ignore[attr-defined]
        await wait_for(pilot, lambda: trials.preview and trials.preview.state.task.failure)
        await pilot.pause(0.3)

    assert snap_compare(PTuneApp(), terminal_size=size, run_before=prepare)


@both_sizes
def test_train_before_its_first_step(
    snap_compare: Compare, size: tuple[int, int], tmp_path: Path
) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.beginning()[:6], is_held=True)
    assert snap_compare(PTuneApp(attach=run, clock=clock), terminal_size=size, run_before=shown)


@both_sizes
@pytest.mark.parametrize(
    "ending", [TaskFinished(52.0, stopped_early=True), INTERRUPTED], ids=["stopped", "interrupted"]
)
def test_train_that_was_ended(
    snap_compare: Compare,
    size: tuple[int, int],
    tmp_path: Path,
    ending: TaskFinished | TaskFailed,
) -> None:
    run = fakes.write_run(tmp_path / "run", [*fakes.running(), ending])
    assert snap_compare(PTuneApp(attach=run, clock=clock), terminal_size=size, run_before=shown)


@both_sizes
@pytest.mark.usefixtures("compare_run")
def test_compare_stopped(
    snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker
) -> None:
    use_worker(fakes.comparing(num_done=1), fakes.FOREVER)
    app = PTuneApp("compare", clock=clock)

    async def prepare(pilot: Pilot[None]) -> None:
        comparison = app.session.comparison
        begun = comparing("f5", until=lambda _: comparison.table and comparison.table.state.lines)
        await begun(pilot)
        await pilot.press("s")
        await wait_for(pilot, lambda: not comparison.is_making_table)
        await pilot.pause(0.6)

    assert snap_compare(app, terminal_size=size, run_before=prepare)


@both_sizes
@pytest.mark.usefixtures("compare_run")
def test_compare_whose_text_nobody_answered(
    snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker
) -> None:
    use_worker([TaskFailed("model", "The weights are others.", "Take that model.", "/log")])
    app = PTuneApp("compare", clock=clock)
    prepare = comparing(
        *("a", *"the lamp", "enter"),
        until=lambda app: (
            app.session.comparison.answers and app.session.comparison.answers.state.task.failure
        ),
    )
    assert snap_compare(app, terminal_size=size, run_before=prepare)


@both_sizes
def test_export_cancelled(
    snap_compare: Compare, size: tuple[int, int], export_app: PTuneApp, use_worker: UseWorker
) -> None:
    use_worker(fakes.exporting(), fakes.FOREVER)

    async def prepare(pilot: Pilot[None]) -> None:
        session = export_app.session
        await exporting(lambda _: session.export and session.export.state.parities)(pilot)
        await pilot.press("s")
        await wait_for(pilot, lambda: not session.is_exporting)
        await pilot.pause(0.6)

    assert snap_compare(export_app, terminal_size=size, run_before=prepare)


@both_sizes
def test_the_palette(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def prepare(pilot: Pilot[None]) -> None:
        await settle(pilot)
        await pilot.press("ctrl+p", *"start")
        pilot.app.screen.query_one(Input).cursor_blink = False
        await pilot.pause(0.5)

    assert snap_compare(PTuneApp(), terminal_size=size, run_before=prepare)


def test_help_where_it_is_wide(snap_compare: Compare) -> None:
    app = PTuneApp("train")
    assert snap_compare(app, terminal_size=(120, 40), press=["f1"])


@pytest.mark.parametrize("size", [(80, 19), (60, 20)], ids=["80x19", "60x20"])
def test_the_smallest_terminal_and_one_too_low(
    snap_compare: Compare, size: tuple[int, int]
) -> None:
    assert snap_compare(PTuneApp(), terminal_size=size, run_before=settle)
