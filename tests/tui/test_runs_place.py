"""The list of runs: its keys, what it shows of a run, and what happens to a run behind its back."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from ptune_tui.events import encode_line
from ptune_tui.results import write_result
from ptune_tui.runs import RunSummary, summarise
from ptune_tui.series import smoothed
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.opened_run import OpenedRun, read_run
from ptune_tui.tui.run_look import Look, Looks
from ptune_tui.tui.run_rows import COLUMNS, cell_text, filtered, fitting_columns, source_text
from ptune_tui.tui.screens.questions import DeleteScreen
from ptune_tui.tui.screens.runs import RunsScreen
from ptune_tui.tui.screens.setup import SetupScreen
from ptune_tui.tui.screens.train import TrainScreen
from ptune_tui.tui.widgets.curve import marker_points
from ptune_tui.tui.widgets.run_curves import RunCurves
from ptune_tui.tui.widgets.run_details import RunDetails, details
from ptune_tui.tui.widgets.run_table import RunTable
from tests.report.results import evaluation
from tests.tui import fakes
from tests.tui.helpers import opened, settled, wait_for

NOW = fakes.START + 5 * 3600


def listed(app: PTuneApp) -> list[str]:
    return [Path(str(row.value)).name for row in app.screen.query_one(RunTable).rows]


async def read(app: PTuneApp, pilot: Pilot[None]) -> RunsScreen:
    """The place, once it has read its folder."""
    screen = app.screen
    assert isinstance(screen, RunsScreen)
    await wait_for(pilot, lambda: screen.runs is not None)
    await settled(pilot)
    return screen


@pytest.mark.usefixtures("some_runs")
async def test_runs_are_filtered_marked_copied_and_compared() -> None:
    app = PTuneApp(clock=lambda: NOW)
    async with opened(app, size=(80, 24)) as pilot:
        screen = await read(app, pilot)
        assert listed(app) == ["running", "failed", "finished", "stopped", "killed"]
        await pilot.press("slash", *"Prefix", "space", *"news", "enter")
        assert listed(app) == ["finished"]
        assert "1 of 5" in str(screen.query_one("#filter-count", Static).render())
        await pilot.press("escape")
        assert len(listed(app)) == 5
        assert not screen.query_one("#filter", Input).value
        assert screen.highlighted is not None
        assert screen.highlighted.name == "finished"  # the cursor stays on its run

        await pilot.press("y")
        assert app.clipboard == str((Path("home") / "runs" / "finished").absolute())

        await pilot.press("space", "down", "space")
        await settled(pilot)
        assert [run.name for run in screen.marked] == ["finished", "stopped"]
        assert not screen.query_one(RunCurves).display
        await pilot.press("v")
        await pilot.pause()
        legend = str(screen.query_one("#legend-line", Static).render())
        assert "● finished 0." in legend
        assert "■ stopped 0." in legend
        assert not screen.query_one(RunDetails).display
        await pilot.press("space", "u")
        assert screen.marked == []
        await pilot.press("n")
        await pilot.pause()
        assert isinstance(app.screen, SetupScreen)


@pytest.mark.usefixtures("some_runs")
async def test_run_is_opened_whether_it_goes_on_or_has_ended() -> None:
    app = PTuneApp(clock=lambda: NOW)
    async with opened(app, size=(80, 24)) as pilot:
        await read(app, pilot)
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, TrainScreen))
        assert app.session.is_training
        assert "120/300" in app.status_text()
        followed = app.session.run
        await pilot.press("1")
        screen = await read(app, pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert app.session.run is followed  # the same run is not read again
        await pilot.press("1", "down", "down", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, TrainScreen))
        assert "finished, best 89.4 %" in app.status_text()
        await pilot.press("1")
        await pilot.pause()
        shutil.rmtree("home/runs/finished")
        app.session.forget_run(Path("home/runs/finished"))
        screen.action_open()  # before the list knows
        await wait_for(pilot, lambda: app._notifications)
        assert app.screen is screen


@pytest.mark.usefixtures("some_runs")
async def test_run_is_deleted_after_a_question_and_never_while_it_goes_on() -> None:
    app = PTuneApp(clock=lambda: NOW)
    async with opened(app, size=(120, 40)) as pilot:
        screen = await read(app, pilot)
        assert screen.check_action("delete", ()) is None  # it is running
        await pilot.press("d", "down", "down", "enter", "1")
        await wait_for(pilot, lambda: app.screen is screen)
        await settled(pilot)
        await pilot.press("d")
        assert isinstance(app.screen, DeleteScreen)
        await pilot.press("enter")  # on the harmless button
        assert Path("home/runs/finished").is_dir()
        await pilot.press("d", "y")
        await wait_for(pilot, lambda: "finished" not in listed(app))
        assert not Path("home/runs/finished").exists()
        assert app.session.run is None  # what the Train place showed
        assert listed(app) == ["running", "failed", "stopped", "killed"]


@pytest.mark.usefixtures("some_runs")
async def test_question_says_what_goes_with_a_run_that_was_not_read_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ptune_tui.tui.screens.runs.SETTLE_SECONDS", 3600)  # never looked at
    app = PTuneApp(clock=lambda: NOW)
    async with opened(app, size=(80, 24)) as pilot:
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await wait_for(pilot, lambda: screen.runs is not None)
        await pilot.press("end", "d")
        assert isinstance(app.screen, DeleteScreen)
        text = app.screen.query_one("#belongings", Static)
        await wait_for(pilot, lambda: "All its files go with it, 6 kB" in str(text.render()))


async def test_folders_vanish_grow_and_come_while_they_are_listed(
    some_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptune_tui.tui.screens.runs.READ_SECONDS", 0.2)
    app = PTuneApp(clock=lambda: NOW)
    async with opened(app, size=(80, 24)) as pilot:
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await wait_for(pilot, lambda: screen.runs is not None)
        await pilot.press("down", "space")
        shutil.rmtree(some_runs / "failed")
        fakes.write_run(some_runs / "late", fakes.beginning())
        (some_runs / "late" / "events.jsonl").write_bytes(b'{"type":"TaskSta')
        await wait_for(pilot, lambda: {"late"} < set(listed(app)) and "failed" not in listed(app))
        assert screen.marked == []
        os.rename(some_runs, "elsewhere")
        await wait_for(pilot, lambda: screen.query_one("#no-runs").display)
        assert screen.check_action("open", ()) is None


def test_details_have_the_scores_of_every_line_of_a_table(some_runs: Path) -> None:
    run = some_runs / "finished"
    table = evaluation()
    write_result(run / "evaluation.json", table)
    look = Looks().look([run])[run]
    lines = [line.text for line in details(summarise(run), look, NOW)]
    first = next(number for number, line in enumerate(lines) if line.endswith("scores of 100"))
    shown = lines[first + 1 : first + 1 + len(table.contenders)]
    for line, contender in zip(shown, table.contenders, strict=True):
        value = 100 * contender.score("accuracy")
        assert line.startswith(f"{contender.title}: accuracy {value:.1f}, macro-F1 ")


def test_failed_run_tells_what_happened_and_what_to_do(some_runs: Path) -> None:
    run = some_runs / "failed"
    (run / "evaluation.json").write_bytes(b"{}")  # of another version
    look = Looks().look([run, some_runs / "finished"])
    lines = {line.label: line for line in details(summarise(run), look[run], NOW)}
    assert lines["error"].tone == "error"
    assert "not finite any more at step 60" in lines["error"].text
    assert lines["hint"].text.startswith("Lower `--learning-rate`")
    assert lines["log"].text.endswith("worker.log")
    assert "of another version" in lines["ptune eval"].text
    finished = {
        line.label: line.text
        for line in details(summarise(some_runs / "finished"), look[some_runs / "finished"], NOW)
    }
    assert (
        finished["settings"] == "train /data/ag_news/train.jsonl · name prefix · learning_rate 0.02"
    )
    assert finished["accuracy"].startswith("base 61.4 %, best 89.4 % at step 300, macro-F1 88.4 %")
    assert "adapter 40 kB" in finished["files"]
    assert finished["notice"].startswith("3 rows were too long")
    assert Looks().look([Path("gone")])[Path("gone")].curve == []


def test_columns_fit_and_the_least_telling_are_left_out_first() -> None:
    for width in (40, 60, 80, 100, 120, 200):
        columns = fitting_columns(width)
        assert sum(column.width for column in columns) <= max(width, 46)
    names = {width: [column.name for column in fitting_columns(width)] for width in (60, 80, 120)}
    assert names[60] == ["mark", "status", "data", "method", "score", "age"]
    assert names[80] == ["mark", "status", "name", "data", "method", "score", "age"]
    for width in (79, 120):  # beside a scrollbar in 80 cells
        score = next(column for column in fitting_columns(width) if column.name == "score")
        assert score.width > len("loss 1.31 (2.87)")
    assert names[120] == [column.name for column in COLUMNS]


def test_cells_and_filter(some_runs: Path) -> None:
    rows = {name: summarise(some_runs / name) for name in ("finished", "stopped")}

    def cells(run: RunSummary) -> list[str]:
        return [cell_text(run, column.name, NOW) for column in COLUMNS]

    assert cells(rows["finished"]) == [
        "", "✓ finished", "finished", "smollm2-135m-instruct", "ag_news", "prefix",
        "89.4 % (61.4)", "300", "4 min 43 s", "3 h",
    ]  # fmt: skip
    assert cells(rows["stopped"])[7] == "120/300"
    every = list(rows.values())
    assert filtered(every, "  ", NOW) == every
    assert filtered(every, "SMOLLM 89.4", NOW) == [rows["finished"]]
    assert filtered(every, "/data/ag", NOW) == [rows["finished"]]
    assert filtered(every, "prefix stopped", NOW) == []
    assert source_text("/data/mine/short.csv") == "mine/short"
    assert source_text("org/model") == "org/model"


def test_curves_are_smoothed_and_marked_apart() -> None:
    points = [(float(step), 1.0) for step in range(100)]
    points[50] = (50.0, float("nan"))
    curve = smoothed(points, 0.9)
    assert len(curve) == 99
    assert (curve[0][1], curve[-1][1]) == (pytest.approx(1.0), pytest.approx(1.0))
    pair = smoothed([(0.0, 2.0), (1.0, 1.0)], 0.5)
    assert [loss for _, loss in pair] == [pytest.approx(2.0), pytest.approx(4 / 3)]
    one, other = (marker_points(curve, 99.0, shift) for shift in (1 / 3, 2 / 3))
    assert len(one) == len(other) == 8
    assert not set(one) & set(other)
    assert marker_points([(3.0, 1.0)], 99.0, 0.5) == [(3.0, 1.0)]


@pytest.mark.usefixtures("some_runs")
async def test_a_change_is_looked_at_only_where_it_is_shown(
    some_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptune_tui.tui.screens.runs.READ_SECONDS", 0.6)
    app = PTuneApp(clock=lambda: NOW)
    async with opened(app, size=(80, 24)) as pilot:
        screen = await read(app, pilot)
        await pilot.press("down", "down", "space", "down")  # `finished` marked, `stopped` under it
        await settled(pilot)
        looked: list[str] = []
        real = screen._looks.look

        def look(runs: list[Path]) -> dict[Path, Look]:
            looked.extend(run.name for run in runs)
            return real(runs)

        monkeypatch.setattr(screen._looks, "look", look)

        async def grow(name: str, number: int) -> None:
            with (some_runs / name / "events.jsonl").open("ab") as file:
                file.write(encode_line(fakes.step(number)))
            known = {run.name: run for run in screen.runs or []}[name]
            await wait_for(
                pilot, lambda: {run.name: run for run in screen.runs or []}[name] != known
            )
            await settled(pilot)

        await grow("killed", 77)
        assert looked == []
        await grow("finished", 301)
        assert looked == ["finished"]


@pytest.mark.usefixtures("some_runs")
async def test_a_run_is_read_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def slow(run: Path) -> OpenedRun:
        threads.append(threading.get_ident())
        return read_run(run)

    monkeypatch.setattr("ptune_tui.tui.screens.runs.read_run", slow)
    app = PTuneApp(clock=lambda: NOW)
    async with opened(app, size=(80, 24)) as pilot:
        await read(app, pilot)
        await pilot.press("down", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, TrainScreen))
        assert app.session.run is not None
        assert app.session.run.state.task.is_over  # all of it is there at once
    assert threads
    assert threads[0] != threading.get_ident()


@pytest.mark.usefixtures("some_runs")
async def test_a_look_that_gives_way_to_another_is_made_up_for() -> None:
    app = PTuneApp("runs", clock=lambda: NOW)
    async with opened(app, size=(80, 24)) as pilot:
        screen = await read(app, pilot)
        assert screen.highlighted is not None
        path, look = screen.highlighted.path, screen._looks.look
        asked: list[list[Path]] = []
        may_go_on = threading.Event()

        def slow(paths: list[Path]) -> object:
            asked.append(paths)
            may_go_on.wait(20)
            return look(paths)

        screen._looks.look = slow  # type: ignore[method-assign, assignment]
        screen._changed.add(path)  # as when it has ended
        screen._look()
        await wait_for(pilot, lambda: asked == [[path]])
        screen._look()  # as when another run is marked
        await wait_for(pilot, lambda: len(asked) > 1)
        may_go_on.set()
        await settled(pilot)
        assert asked == [[path], [path]]
