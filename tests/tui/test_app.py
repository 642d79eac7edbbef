"""What the keys do, against workers and chats that are real processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static

from ptune_tui.events import EvaluateNow, Stop, decode_command
from ptune_tui.tasks import COMMANDS_FILE, ExportTask, PreviewTask, TrainTask, read_task
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.bindings import ACTIONS
from ptune_tui.tui.outcome import outcome_of
from ptune_tui.tui.screens.chat import ChatScreen
from ptune_tui.tui.screens.questions import HelpScreen, LeaveScreen
from ptune_tui.tui.screens.setup import SetupScreen
from ptune_tui.tui.screens.train import TrainScreen
from ptune_tui.tui.widgets.exchange import Exchange
from ptune_tui.tui.widgets.field_row import FieldRow
from ptune_tui.tui.widgets.run_panels import Problem
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.waiting import wait_for

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
FOREVER = "time.sleep(60)\n"
OBEY = r"""
commands = folder / "commands.jsonl"
while not (commands.exists() and b'"Stop"' in commands.read_bytes()): time.sleep(0.02)
say(b'{"type":"TaskFinished","seconds":1.0,"stopped_early":true}\n')
"""


def run_folder(app: PTuneApp) -> Path:
    assert app.session.run is not None
    return app.session.run.job.folder


def commands(app: PTuneApp) -> list[object]:
    lines = (run_folder(app) / COMMANDS_FILE).read_bytes().splitlines()
    return [decode_command(line) for line in lines]


@SIZES
async def test_enter_alone_starts_a_run_with_the_defaults(
    size: tuple[int, int], use_worker: UseWorker
) -> None:
    use_worker(fakes.running(), FOREVER)
    app = PTuneApp()
    async with app.run_test(size=size) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, TrainScreen))
        task = read_task(run_folder(app))
        assert isinstance(task, TrainTask)
        assert task.config.data.train == "support_inbox"
        await wait_for(pilot, lambda: "120/300" in app.status_text())


async def test_form_errors_show_under_the_field_and_hold_the_start() -> None:
    app = PTuneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        row = app.screen.query_one("#field-training-max-steps", FieldRow)
        row.query_one(Input).value = "0"
        await pilot.pause()
        assert str(row.query_one(".field-error", Static).render()) == "✗ Expected int >= 1."
        assert app.screen.query_one("#start", Button).disabled
        await pilot.press("f5")
        assert app.session.run is None
        await pilot.press("f8")
        await pilot.pause()
        assert row.text == "300"
        assert not app.screen.query_one("#start", Button).disabled


async def test_form_changes_reach_command_and_run(use_worker: UseWorker) -> None:
    use_worker(fakes.beginning(), FOREVER)
    app = PTuneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.screen.query_one("#field-training-seed", FieldRow).text = "7"
        app.screen.query_one("#field-data-train", FieldRow).text = "home_commands"
        await pilot.pause()
        command = str(app.screen.query_one("#command", Static).render())
        assert command == "$ ptune train --data home_commands --seed 7"
        await pilot.press("f5")
        await pilot.pause()
        task = read_task(run_folder(app))
        assert isinstance(task, TrainTask)
        assert task.config.training.seed == 7


async def test_preview_is_made_by_a_worker(use_worker: UseWorker) -> None:
    use_worker(fakes.preview())
    app = PTuneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        text = app.screen.query_one("#preview-text", Static)
        assert "F6" in str(text.render())
        await pilot.press("f6")
        await wait_for(pilot, lambda: "[returns|<|im_end|>]" in str(text.render()))
        assert app.session.preview is not None
        assert isinstance(read_task(app.session.preview.job.folder), PreviewTask)


async def test_places_have_a_key_each_even_while_one_writes(home: Path) -> None:
    app = PTuneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        for key, screen in (("2", TrainScreen), ("3", ChatScreen), ("1", SetupScreen)):
            await pilot.press(key)
            await pilot.pause()
            assert isinstance(app.screen, screen)
        box = app.screen.query_one("#field-training-seed Input", Input)
        box.focus()
        await pilot.press("2")
        assert box.value.endswith("2")
        await pilot.press("f3")
        await pilot.pause()
        assert isinstance(app.screen, TrainScreen)
        await pilot.press("f2")
        await pilot.pause()
        assert app.screen.query_one("#field-training-seed Input", Input).value == box.value


async def test_stop_and_evaluate_are_sent_and_disabled_afterwards(use_worker: UseWorker) -> None:
    use_worker(fakes.running(), OBEY)
    app = PTuneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: "120/300" in app.status_text())
        assert app.screen.check_action("export", ()) is None
        await pilot.press("e", "s")
        await wait_for(pilot, lambda: not app.session.is_training)
        assert commands(app) == [EvaluateNow(), Stop(save=True)]
        assert app.screen.check_action("stop", ()) is None
        assert app.screen.check_action("export", ()) is True


async def test_export_shows_its_stages_and_offers_the_chat(
    tmp_path: Path, use_worker: UseWorker
) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    use_worker(fakes.exported(run / "bundle"))
    app = PTuneApp("train", attach=run)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("x")
        await wait_for(pilot, lambda: app.session.bundle == run / "bundle")
        assert app.session.export is not None
        task = read_task(app.session.export.job.folder)
        assert isinstance(task, ExportTask)
        assert (task.run, task.destination) == (str(run), str(run / "bundle"))
        await pilot.pause(0.3)
        assert "c talks to the bundle" in str(app.screen.query_one("#ending", Static).render())
        outcome = outcome_of(app.session)
    assert outcome is not None
    assert (outcome.status, outcome.best_accuracy) == ("finished", 0.894)
    assert outcome.next_command == f"ptune chat {run / 'bundle'}"
    assert "89.4 %" in "\n".join(outcome.lines())


async def test_worker_that_dies_shows_a_problem(use_worker: UseWorker) -> None:
    use_worker(fakes.running(), "sys.exit(9)")
    app = PTuneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: not app.session.is_training)
        await pilot.pause(0.3)
        problem = app.screen.query_one(Problem)
        assert problem.display
        assert "without a word" in str(problem.render())


async def test_quit_asks_once_while_a_run_goes_on(use_worker: UseWorker) -> None:
    use_worker(fakes.running(), OBEY)
    app = PTuneApp()
    async with app.run_test(size=(80, 24)) as pilot:
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
    use_worker(fakes.running(), FOREVER)
    app = PTuneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: "120/300" in app.status_text())
        await pilot.press("q", "k")
        await wait_for(pilot, lambda: not app.is_running)
    assert app.session.run is not None
    assert app.session.run.job.is_alive()
    outcome = outcome_of(app.session)
    assert outcome is not None
    assert outcome.status == "running"


async def test_discard_ends_a_run_that_does_not_listen(
    use_worker: UseWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptune_tui.tui.app.DISCARD_SECONDS", 0.3)
    use_worker(fakes.running(), FOREVER)
    app = PTuneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: "120/300" in app.status_text())
        await pilot.press("q", "d")
        await wait_for(pilot, lambda: not app.is_running)
    assert commands(app) == [Stop(save=False)]
    assert app.session.run is not None
    assert not app.session.run.job.is_alive()


@pytest.mark.usefixtures("fake_chat")
async def test_chat_answers_side_by_side(tmp_path: Path) -> None:
    app = PTuneApp("chat", bundle=tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.state == "ready")
        await pilot.press(*"hi", "enter")
        await wait_for(pilot, lambda: app.screen.state == "ready" and app.screen.query(Exchange))
        exchange = app.screen.query_one(Exchange)
        assert exchange.box("base").text == "The customer wants to return a lamp."
        assert exchange.box("base").border_subtitle == "16 tokens/s · 0.5 s"
        assert exchange.box("tuned").border_subtitle == "p 93.0 % · 0.5 s"
        await pilot.press(*"refuse", "enter")
        await wait_for(pilot, lambda: app.screen.query_one("#ask", Input).value == "refuse")
        assert app.screen.state == "ready"


@pytest.mark.usefixtures("fake_chat")
async def test_escape_stops_an_answer_and_then_goes_back(tmp_path: Path) -> None:
    app = PTuneApp("chat", bundle=tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.state == "ready")
        await pilot.press(*"hang", "enter")
        await wait_for(pilot, lambda: app.screen.state == "waiting")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen.state == "ready")
        assert app.screen.query_one(Exchange).box("tuned").border_subtitle == "stopped"
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, TrainScreen)


@pytest.mark.usefixtures("fake_chat")
async def test_chat_whose_child_dies_says_so(tmp_path: Path) -> None:
    app = PTuneApp("chat", bundle=tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.state == "ready")
        await pilot.press(*"die", "enter")
        await wait_for(pilot, lambda: app.screen.state == "failed")
        status = str(app.screen.query_one("#chat-status", Static).render())
        assert "exit code 3" in status
        assert app.screen.query_one("#ask", Input).value == "die"


@pytest.mark.usefixtures("fake_chat")
async def test_resizing_loses_nothing(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    app = PTuneApp("setup", attach=run, bundle=tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        box = app.screen.query_one("#field-training-seed Input", Input)
        box.focus()
        box.value = "42"
        for place in ("train", "chat", "setup"):
            app.action_show_place(place)
            for size in ((8, 3), (200, 60), (80, 24)):
                await pilot.resize_terminal(*size)
        assert app.focused is box
        assert box.value == "42"


async def test_help_lists_every_key_of_the_place() -> None:
    app = PTuneApp("train")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = str(app.screen.query_one("#help Static", Static).render())
        assert all(row.tooltip in text for row in ACTIONS if row.place in ("app", "train"))
        await pilot.press("escape")
        assert isinstance(app.screen, TrainScreen)


async def test_palette_has_every_action_and_says_why_one_is_not_possible() -> None:
    app = PTuneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        rows = {row.title: row for row in app.get_system_commands(app.screen)}
        assert len(rows) == len(ACTIONS)
        rows["Train: Stop"].callback()
        await wait_for(pilot, lambda: app._notifications)
        assert "needs a run that goes on" in next(iter(app._notifications)).message
        rows["Setup"].callback()
        await pilot.pause()
        assert isinstance(app.screen, SetupScreen)


@pytest.mark.parametrize("place", ["setup", "train", "chat"])
async def test_footer_fits_80_columns(place: str, tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    app = PTuneApp(place, attach=run)  # type: ignore[arg-type]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        keys = app.screen.query("FooterKey")
        assert 0 < len(keys) <= 7
        assert all(key.region.right <= 80 for key in keys)


async def test_idle_app_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    app = PTuneApp("train")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        drawn: list[object] = []
        monkeypatch.setattr(TrainScreen, "show_state", lambda self: drawn.append(self))
        await asyncio.sleep(0.6)
        assert drawn == []
