"""A run as it goes: its keys, its end, and leaving while it goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from textual.widgets import Static

from ptune_tui.config import RunConfig
from ptune_tui.events import (
    Continue,
    EvaluateNow,
    Notice,
    Pause,
    StageStarted,
    StateSaved,
    Stop,
    TaskFailed,
    TaskFinished,
)
from ptune_tui.tasks import ExportTask, TrainTask, read_task
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.outcome import outcome_of
from ptune_tui.tui.screens.questions import LeaveScreen
from ptune_tui.tui.screens.train import TrainScreen
from ptune_tui.tui.widgets.exchange import Exchange
from ptune_tui.tui.widgets.loss_chart import LossChart
from ptune_tui.tui.widgets.run_panels import Problem
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.helpers import commands, opened, run_folder, settled, wait_for


async def test_stop_and_evaluate_are_sent_and_disabled_afterwards(use_worker: UseWorker) -> None:
    use_worker(fakes.running(), fakes.OBEY)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: "120/300" in app.status_text())
        assert app.screen.check_action("export", ()) is None
        await pilot.press("e", "s")
        await wait_for(pilot, lambda: not app.session.is_training)
        assert commands(app) == [EvaluateNow(), Stop(save=True)]
        assert app.screen.check_action("stop", ()) is None
        assert app.screen.check_action("export", ()) is True


@pytest.mark.usefixtures("fake_chat")
async def test_enter_alone_exports_a_finished_run_and_asks_it_something(
    tmp_path: Path, use_worker: UseWorker
) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    use_worker(fakes.exported(run / "bundle"))
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        assert "Enter exports it" in str(app.screen.query_one("#ending", Static).render())
        await pilot.press("enter")
        await wait_for(pilot, lambda: getattr(app.focused, "id", "") == "export-start")
        await wait_for(pilot, lambda: app.screen.check_action("start", ()))
        await pilot.press("enter")
        await wait_for(pilot, lambda: getattr(app.focused, "id", "") == "export-chat")
        fakes.write_bundle(run / "bundle")
        assert app.session.export is not None
        task = read_task(app.session.export.job.folder)
        name = RunConfig().data.train
        assert task == ExportTask(str(run), str(run / "bundle"), name)
        await pilot.press("enter")
        await wait_for(pilot, lambda: getattr(app.screen, "state", "") == "ready")
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.screen.query(Exchange))
        exchange = app.screen.query_one(Exchange)
        await wait_for(pilot, lambda: exchange.box("tuned").border_subtitle)
        assert exchange.question == "My login works at home and not at work."
        assert exchange.box("tuned").text == "returns"
        outcome = outcome_of(app.session)
    assert outcome is not None
    assert (outcome.status, outcome.score) == ("finished", "89.4 % (base 61.4)")
    assert outcome.next_command == f"ptune chat {run / 'bundle'}"
    assert "89.4 %" in "\n".join(outcome.lines())


async def test_stopped_run_is_resumed_in_its_folder(tmp_path: Path, use_worker: UseWorker) -> None:
    stopped = [*fakes.running(), TaskFinished(100.0, stopped_early=True)]
    run = fakes.write_run(tmp_path / "run", stopped)
    use_worker(fakes.resumed(), fakes.FOREVER)
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        assert "r goes on with the run" in str(app.screen.query_one("#ending", Static).render())
        await pilot.press("r")
        await wait_for(pilot, lambda: "135/300" in app.status_text())
        assert run_folder(app) == run
        task = read_task(run)
        assert isinstance(task, TrainTask)
        assert task.resume
        assert app.session.run is not None
        assert [number for number, _ in app.session.run.state.losses] == [
            *range(1, 101),
            *range(126, 136),
        ]
        assert app.screen.check_action("resume", ()) is None


async def test_a_run_that_saved_nothing_yet_begins_again(tmp_path: Path) -> None:
    ended = TaskFailed("interrupted", "It was told to end.", "Nothing was saved.", "worker.log")
    events = [*fakes.beginning(), StateSaved(0, "checkpoints"), fakes.step(1), ended]
    app = PTuneApp("train", attach=fakes.write_run(tmp_path / "run", events))
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        assert "Nothing was saved." in str(app.screen.query_one("#problem", Static).render())
        ending = str(app.screen.query_one("#ending", Static).render())
        assert "r begins it again" in ending
        assert "goes on" not in ending
        assert "last" not in str(app.screen.query_one("#stages", Static).render())
        assert app.screen.check_action("resume", ()) is True


async def test_run_waits_and_goes_on_when_told(use_worker: UseWorker) -> None:
    use_worker(fakes.running(), fakes.WAIT)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: "120/300" in app.status_text())
        await pilot.press("p")
        ending = app.screen.query_one("#ending", Static)
        await wait_for(pilot, lambda: app.status_text() == "‖ paused 120/300")
        await pilot.pause(0.3)
        assert "p goes on, e scores" in str(ending.render())
        stages = str(app.screen.query_one("#stages", Static).render())
        assert "‖ train" in stages
        assert app.screen.check_action("resume", ()) is True
        await pilot.press("r")
        await wait_for(pilot, lambda: app.status_text() == "▸ training 120/300")
        assert commands(app) == [Pause(), Continue()]
        assert app.screen.check_action("resume", ()) is None


async def test_paused_run_is_shown_again_and_outlives_the_app(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.paused(), is_held=True)
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.status_text() == "‖ paused 120/300"
        await pilot.press("q")
        assert isinstance(app.screen, LeaveScreen)
        await pilot.press("k")
        await wait_for(pilot, lambda: not app.is_running)
    outcome = outcome_of(app.session)
    assert outcome is not None
    assert outcome.status == "paused"
    assert outcome.next_command is not None
    assert outcome.next_command.startswith("ptune ")


async def test_run_that_was_left_is_shown_again_as_it_goes(use_worker: UseWorker) -> None:
    use_worker(fakes.running(), fakes.OBEY)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: "120/300" in app.status_text())
        await pilot.press("q", "k")
        await wait_for(pilot, lambda: not app.is_running)
    again = PTuneApp()
    async with opened(again, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: again.screen.runs)
        await pilot.press("enter")
        await wait_for(pilot, lambda: again.status_text() == "▸ training 120/300")
        assert again.session.run is not None
        assert len(again.session.run.state.losses) == 120
        await pilot.press("s")
        await wait_for(pilot, lambda: not again.session.is_training)
    assert commands(again) == [Stop(save=True)]


async def test_chart_shows_all_steps_the_last_ones_and_the_scores(tmp_path: Path) -> None:
    app = PTuneApp("train", attach=fakes.write_run(tmp_path / "run", fakes.finished()))
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        chart = app.screen.query_one("#chart")
        titles = []
        for key in ("v", "v", "v", "l"):
            titles.append(str(chart.border_title))
            await pilot.press(key)
        titles.append(str(chart.border_title))
        assert titles == [
            "loss, all steps",
            "loss, last 50 steps",
            "validation accuracy, % against steps",
            "loss, all steps",
            "loss, all steps, log scale",
        ]


async def test_notices_of_choices_stand_with_the_reasons_and_others_are_pinned(
    tmp_path: Path,
) -> None:
    told = [Notice("device", "Chosen."), *(Notice("rows-cut", f"Notice {n}.") for n in range(4))]
    run = fakes.write_run(tmp_path / "run", [*fakes.running(), *told], is_held=True)
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        pinned = str(app.screen.query_one("#notices", Static).render())
        assert "Chosen" not in pinned
        assert pinned.splitlines() == ["! Notice 3.", "! Notice 2.", "! 3 more; w shows them"]
        await pilot.press("w")
        reasons = str(app.screen.query_one("#reasons", Static).render())
        assert "Chosen" in reasons
        assert "Notice 0" in reasons


@pytest.mark.usefixtures("some_runs")
async def test_no_run_is_shown_though_there_are_some() -> None:
    app = PTuneApp("train")
    async with opened(app, size=(80, 24)) as pilot:
        words = str(app.screen.query_one("#no-run", Static).render())
        assert words.startswith("No run is shown.\n\n1  lists all runs")
        await pilot.press("1")
        await wait_for(pilot, lambda: app.screen.runs)
        for run in app.screen.runs:
            shutil.rmtree(run.path)
        await pilot.press("3")
        await wait_for(pilot, lambda: isinstance(app.screen, TrainScreen))
        await pilot.pause()
        words = str(app.screen.query_one("#no-run", Static).render())
        assert words.startswith("No run yet.")


async def test_finished_run_is_not_resumed(tmp_path: Path) -> None:
    app = PTuneApp("train", attach=fakes.write_run(tmp_path / "run", fakes.finished()))
    async with opened(app, size=(80, 24)):
        assert app.screen.check_action("resume", ()) is None


async def test_plan_s_reasons_take_the_place_of_the_answers(tmp_path: Path) -> None:
    app = PTuneApp("train", attach=fakes.write_run(tmp_path / "run", fakes.finished()))
    async with opened(app, size=(80, 24)) as pilot:
        reasons = app.screen.query_one("#reasons", Static)
        assert not reasons.display
        await pilot.press("w")
        assert reasons.display
        assert "where cached took 1.64 s" in str(reasons.render())
        await pilot.press("w")
        assert app.screen.query_one("#samples").display


async def test_worker_that_dies_shows_a_problem(use_worker: UseWorker) -> None:
    use_worker(fakes.running(), "sys.exit(9)")
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: not app.session.is_training)
        await pilot.pause(0.3)
        problem = app.screen.query_one(Problem)
        assert problem.display
        assert "without a word" in str(problem.render())


async def test_quit_asks_once_while_a_run_goes_on(use_worker: UseWorker) -> None:
    use_worker(fakes.running(), fakes.OBEY)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: "120/300" in app.status_text())
        await pilot.press("ctrl+q")
        assert isinstance(app.screen, LeaveScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, TrainScreen)
        await pilot.press("q")
        await pilot.press("s")
        await wait_for(pilot, lambda: not app.is_running)
    assert commands(app) == [Stop(save=True)]
    outcome = outcome_of(app.session)
    assert outcome is not None
    assert outcome.status == "stopped"


async def test_run_goes_on_in_the_background(use_worker: UseWorker) -> None:
    use_worker(fakes.running(), fakes.FOREVER)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: "120/300" in app.status_text())
        await pilot.press("q", "k")
        await wait_for(pilot, lambda: not app.is_running)
    assert app.session.run is not None
    assert app.session.run.job.is_alive()
    outcome = outcome_of(app.session)
    assert outcome is not None
    assert outcome.status == "running"


async def test_end_it_now_ends_a_run_that_does_not_listen(
    use_worker: UseWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptune_tui.tui.leaving.ENDING_SECONDS", 0.3)
    use_worker(fakes.running(), fakes.FOREVER)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: "120/300" in app.status_text())
        await pilot.press("q", "d")
        await wait_for(pilot, lambda: not app.is_running)
    assert commands(app) == [Stop(save=False)]
    assert app.session.run is not None
    assert not app.session.run.job.is_alive()


async def test_a_failed_run_keeps_its_chart_and_stages_where_room_is_short(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.running())  # killed: the longest of problems
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await settled(pilot)
        chart, stages = app.screen.query_one("#chart"), app.screen.query_one("#stages-box")
        assert app.screen.query_one("#problem").display
        assert chart.size.height >= 7  # a plot of four rows between its axes
        assert stages.max_scroll_y == 0
        assert stages.region.bottom <= app.screen.query_one("Footer").region.y


@pytest.mark.parametrize("size", [(61, 20), (80, 20), (80, 24), (120, 40)], ids=str)
@pytest.mark.parametrize("state", ["running", "exported", "failed at length"])
async def test_the_curve_keeps_its_room_and_no_box_is_empty(
    size: tuple[int, int], state: str, tmp_path: Path
) -> None:
    events = fakes.running() if state == "running" else fakes.finished()
    if state == "failed at length":
        words = "The worker was killed: the system may have been short of memory. " * 3
        events = [*fakes.running(), TaskFailed("resources", words, words, "/home/user/worker.log")]
    run = fakes.write_run(tmp_path / "run", events, is_held=state == "running")
    if state == "exported":
        fakes.write_bundle(run / "bundle")
    app = PTuneApp("train", attach=run)
    async with opened(app, size=size) as pilot:
        await settled(pilot)
        chart, stages, answers = map(
            app.screen.query_one, ("#chart", "#stages-box", "#samples-box")
        )
        if state == "failed at length" and size[1] == 20:  # the error takes the room
            assert not chart.display
        else:
            assert chart.size.height >= 6
        assert stages.max_scroll_y == 0
        assert answers.size.height > 0 or not answers.display
        assert "train" in str(app.screen.query_one("#stages", Static).render())
        assert stages.region.bottom <= app.screen.query_one("Footer").region.y
        await pilot.press("w")  # whatever the room is, what is asked for is seen
        await settled(pilot)
        assert app.screen.query_one("#reasons").region.height > 0
        assert answers.display


async def test_all_stages_are_seen_while_the_worker_starts(tmp_path: Path) -> None:
    starting = [fakes.beginning()[0], StageStarted("import", fakes.START, "torch")]
    run = fakes.write_run(tmp_path / "run", starting, is_held=True)
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(120, 40)) as pilot:
        await settled(pilot)
        stages = app.screen.query_one("#stages-box")
        assert (stages.size.height, stages.max_scroll_y) == (7, 0)


async def test_a_run_that_failed_before_its_first_step_promises_none(tmp_path: Path) -> None:
    failure = TaskFailed("data", "a.csv:5: `text` is empty.", "Fill it in.", "/log")
    run = fakes.write_run(tmp_path / "run", [*fakes.beginning()[:6], failure])
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(120, 40)) as pilot:
        await settled(pilot)
        waiting = str(app.screen.query_one("#chart .no-curve", Static).render())
        assert waiting == "The run ended before its first step."
        assert str(app.screen.query_one("#samples", Static).render()) == "Nothing was evaluated."


async def test_views_of_the_chart_and_reasons_are_reached_by_the_mouse(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        screen = app.screen
        assert isinstance(screen, TrainScreen)
        chart, box = screen.query_one(LossChart), screen.query_one("#samples-box")
        await wait_for(pilot, lambda: chart.border_subtitle and box.border_subtitle)
        # The words stand at the right end of the line below.
        await pilot.click(chart, offset=(chart.size.width - 3, chart.outer_size.height - 1))
        await wait_for(pilot, lambda: chart.view == "recent")
        await pilot.click(box, offset=(box.outer_size.width - 5, box.outer_size.height - 1))
        await wait_for(pilot, lambda: screen.shows_reasons)


async def test_the_error_of_a_run_is_copied(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.failed("/home/user/worker.log"))
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.query_one(Problem).display)
        await pilot.press("y")
        assert "Lower `--learning-rate`" in app.clipboard
        assert "/home/user/worker.log" in app.clipboard
