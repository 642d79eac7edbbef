"""The places, help, palette, footer and sizes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.css.query import NoMatches
from textual.widgets import Input, Static
from textual.widgets._footer import FooterKey

from ptune_tui.tui import left_running, run_commands
from ptune_tui.tui.app import InitialScreen, PTuneApp
from ptune_tui.tui.bindings import ACTIONS
from ptune_tui.tui.leaving import Leaving
from ptune_tui.tui.screens.chat import ChatScreen
from ptune_tui.tui.screens.compare import CompareScreen
from ptune_tui.tui.screens.export import ExportScreen
from ptune_tui.tui.screens.place import PlaceBar
from ptune_tui.tui.screens.questions import HelpScreen
from ptune_tui.tui.screens.runs import RunsScreen
from ptune_tui.tui.screens.setup import SetupScreen
from ptune_tui.tui.screens.train import TrainScreen
from ptune_tui.tui.session import Session
from tests.tui import fakes
from tests.tui.helpers import opened, wait_for


async def test_places_have_a_key_each_even_while_one_writes(home: Path) -> None:
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        for key, screen in (
            ("5", ExportScreen),
            ("3", TrainScreen),
            ("6", ChatScreen),
            ("1", RunsScreen),
            ("4", CompareScreen),
            ("0", RunsScreen),
            ("2", SetupScreen),
        ):
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


@pytest.mark.usefixtures("fake_chat")
async def test_resizing_loses_nothing(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    app = PTuneApp("setup", attach=run, bundle=tmp_path)
    async with opened(app, size=(80, 24)) as pilot:
        box = app.screen.query_one("#field-training-seed Input", Input)
        box.focus()
        box.value = "42"
        for place in ("train", "compare", "chat", "export", "setup"):
            app.action_show_place(place)
            for size in ((8, 3), (200, 60), (80, 24)):
                await pilot.resize_terminal(*size)
        assert app.focused is box
        assert box.value == "42"


async def test_help_lists_every_key_of_the_place() -> None:
    app = PTuneApp("train")
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = str(app.screen.query_one("#help Static", Static).render())
        text = " ".join(text.split())  # tooltips wrap
        assert all(row.tooltip in text for row in ACTIONS if row.place in ("app", "train"))
        await pilot.press("escape")
        assert isinstance(app.screen, TrainScreen)


async def test_palette_has_every_action_and_says_why_one_is_not_possible() -> None:
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        rows = {row.title: row for row in app.get_system_commands(app.screen)}
        assert len(rows) == len(ACTIONS)
        rows["Train: Stop"].callback()
        await wait_for(pilot, lambda: app._notifications)
        assert "needs a run that goes on" in next(iter(app._notifications)).message
        rows["Setup"].callback()
        await pilot.pause()
        assert isinstance(app.screen, SetupScreen)


@pytest.mark.parametrize("place", ["runs", "setup", "train", "compare", "export", "chat"])
async def test_footer_fits_80_columns(place: str, tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    app = PTuneApp(place, attach=run)  # type: ignore[arg-type]
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        keys = app.screen.query("FooterKey")
        assert 0 < len(keys) <= 7
        assert all(key.region.right <= 80 for key in keys)


@pytest.mark.usefixtures("fake_chat")
@pytest.mark.parametrize("place", ["runs", "setup", "train", "compare", "export", "chat"])
async def test_help_and_quit_stand_in_the_footer_of_any_width(
    place: InitialScreen, tmp_path: Path
) -> None:
    app = PTuneApp(place, bundle=fakes.write_bundle(tmp_path / "bundle"))
    async with opened(app, size=(62, 20)) as pilot:
        await wait_for(pilot, lambda: footer_words(app) >= {"Help", "Quit", "palette"})
        narrow = footer_words(app)
        check_footer(app)
        await pilot.resize_terminal(120, 20)
        await pilot.pause()
        assert footer_words(app) >= narrow
        check_footer(app)
        if place == "chat":
            assert footer_words(app) > narrow


def check_footer(app: PTuneApp) -> None:
    """Every key has its room, and none lies below that of the palette."""
    keys = list(app.screen.query(FooterKey))
    palette = next(key for key in keys if key.description == "palette")
    others = [key for key in keys if key is not palette]
    assert all(key.region.width > 4 for key in keys)
    assert max(key.region.right for key in others) <= palette.region.x


def footer_words(app: PTuneApp) -> set[str]:
    return {key.description for key in app.screen.query(FooterKey)}


async def test_a_key_that_is_disabled_says_why_by_keyboard_and_by_mouse() -> None:
    app = PTuneApp("train")
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("s", "s")
        notes = [note.message for note in app._notifications]
        assert notes == ["Stop cannot be done now: it needs a run that goes on."]
        export = next(key for key in app.screen.query(FooterKey) if key.description == "Export")
        await pilot.click(export)
        last = [note.message for note in app._notifications][-1]
        assert "Export cannot be done now: it needs a run that has ended with a prompt" in last


async def test_idle_app_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    app = PTuneApp("train")
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        drawn: list[object] = []
        monkeypatch.setattr(TrainScreen, "show_state", lambda self: drawn.append(self))
        await asyncio.sleep(0.6)
        assert drawn == []


async def test_what_was_being_read_when_the_app_closes_is_no_fault() -> None:
    app = PTuneApp("runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()

        async def read() -> None:
            while app.is_running:
                await asyncio.sleep(0.001)
            app.screen.query_one("#gone")

        app.run_worker(read())
    assert app.return_code != 1


@pytest.mark.parametrize(("error", "code"), [(NoMatches("no Grid"), 0), (KeyError("a"), 1)])
async def test_widget_that_is_missed_once_the_app_has_closed_is_no_fault(
    error: Exception, code: int
) -> None:
    app = PTuneApp("runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
    app._handle_exception(error)
    assert (app.return_code or 0) == code


async def test_bar_that_is_laid_out_before_its_screen_has_its_class_knows_the_width() -> None:
    app = PTuneApp("setup")
    async with opened(app, size=(120, 40)) as pilot:
        app.screen.remove_class("-wide")
        bar = app.screen.query_one(PlaceBar)
        bar.on_resize()
        await pilot.pause()
        assert str(bar.render()).startswith("ptune  ")


async def test_a_key_that_comes_before_the_first_place_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_go_on = threading.Event()
    monkeypatch.setattr(left_running, "take_up", lambda _: may_go_on.wait(20))
    app = PTuneApp("setup")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("1")
        await wait_for(pilot, lambda: app.current_mode == "runs")
        may_go_on.set()
        await pilot.pause(0.3)
        assert app.current_mode == "runs"


@pytest.mark.parametrize("is_over", [True, False])
def test_stop_and_save_leaves_at_once_where_the_run_has_ended_under_the_question(
    is_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_commands, "stop_run", lambda *_, **__: None)
    session = Session()
    monkeypatch.setattr(Session, "is_training", property(lambda _: not is_over))
    left: list[int] = []
    app = SimpleNamespace(
        session=session,
        notify=lambda *_: None,
        refresh_place=lambda: None,
        exit=lambda return_code: left.append(return_code),
    )
    Leaving(app)._answered("save")  # type: ignore[arg-type]
    assert left == ([0] if is_over else [])
