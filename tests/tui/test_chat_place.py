"""The conversation with a bundle, against a child that is a real process."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from ptune_tui.tasks import ExportTask, write_task
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.screens.bundle_list import BundleFilesScreen, BundlesScreen
from ptune_tui.tui.screens.chat import ChatScreen
from ptune_tui.tui.screens.train import TrainScreen
from ptune_tui.tui.widgets.exchange import Exchange
from ptune_tui.tui.widgets.field_row import Choice
from tests.tui import fakes
from tests.tui.helpers import opened, wait_for


@pytest.mark.usefixtures("fake_chat")
async def test_chat_answers_side_by_side(tmp_path: Path) -> None:
    app = PTuneApp("chat", bundle=tmp_path)
    async with opened(app, size=(80, 24)) as pilot:
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
async def test_chat_changes_prompt_and_precision_and_keeps_what_was_said(tmp_path: Path) -> None:
    app = PTuneApp("chat", bundle=fakes.write_bundle(tmp_path / "bundle"))
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.state == "ready")
        await pilot.press(*"hi", "enter")
        await wait_for(pilot, lambda: app.screen.state == "ready" and app.screen.query(Exchange))
        await pilot.press("f5")
        await wait_for(pilot, lambda: app.screen._ready.prompt == "commands")
        await pilot.press("f6")
        await wait_for(pilot, lambda: app.screen._ready.precision == "exact")
        await pilot.press(*"ho", "enter")
        await wait_for(pilot, lambda: len(app.screen.query(Exchange)) == 2)
        titles = [str(each.box("tuned").border_title) for each in app.screen.query(Exchange)]
        assert titles == ["tuned · support_inbox · fast", "tuned · commands · exact"]
        await pilot.press(*"refuse", "enter")
        await wait_for(pilot, lambda: len(app.screen.query(Exchange)) == 3)
        await pilot.press("f7")
        assert app.clipboard == "returns"  # of the question before
        await pilot.press("f6")
        await wait_for(pilot, lambda: app.screen._ready.precision == "fast")
        app.screen.query_one("#chat-prompt", Choice).value = "support_inbox"  # as the mouse does
        await wait_for(pilot, lambda: app.screen._ready.prompt == "support_inbox")


@pytest.mark.usefixtures("fake_chat")
async def test_escape_ends_one_answer_after_the_other_and_then_goes_back(tmp_path: Path) -> None:
    app = PTuneApp("chat", bundle=tmp_path)
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.state == "ready")
        child = app.session.talk.child
        await pilot.press(*"hang", "enter")
        await wait_for(pilot, lambda: app.screen.query(Exchange))
        exchange = app.screen.query_one(Exchange)
        tuned, base = exchange.box("tuned"), exchange.box("base")
        await wait_for(pilot, lambda: tuned.text == "on and")
        assert base.text == ""
        await pilot.press("escape")
        await wait_for(pilot, lambda: base.text == "on and")
        assert (tuned.text, tuned.border_subtitle) == ("on and on", "stopped · 16 tokens/s")
        assert app.screen.state == "waiting"
        await pilot.press(*"more", "enter")
        assert app.screen.query_one("#ask", Input).value == "more"
        assert "Still answering" in [note.message for note in app._notifications][-1]
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen.state == "ready")
        assert base.text == "on and on"
        assert app.session.talk.child is child
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, TrainScreen)


@pytest.mark.usefixtures("fake_chat")
async def test_child_is_gone_when_the_app_has_closed(tmp_path: Path) -> None:
    app = PTuneApp("chat", bundle=tmp_path)
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.state == "ready")
        chat = app.session.talk.child
        await pilot.press("ctrl+q")
        await wait_for(pilot, lambda: not app.is_running)
    assert chat._process.returncode is not None


@pytest.mark.usefixtures("fake_chat")
async def test_chat_whose_child_dies_says_so(tmp_path: Path) -> None:
    app = PTuneApp("chat", bundle=tmp_path)
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.state == "ready")
        await pilot.press(*"die", "enter")
        await wait_for(pilot, lambda: app.screen.state == "failed")
        status = str(app.screen.query_one("#chat-status", Static).render())
        assert "exit code 3" in status
        assert app.screen.query_one("#ask", Input).value == "die"


@pytest.mark.usefixtures("fake_chat")
async def test_the_question_stays_in_view_and_keys_scroll_the_answers(tmp_path: Path) -> None:
    app = PTuneApp("chat", bundle=tmp_path)
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.state == "ready")
        await pilot.press(*"hi", "enter")
        await wait_for(pilot, lambda: app.screen.state == "ready" and app.screen.query(Exchange))
        await pilot.press(*"long", "enter")
        await wait_for(pilot, lambda: len(app.screen.query(Exchange)) == 2)
        await wait_for(pilot, lambda: app.screen.state == "ready")
        await pilot.pause()
        exchanges = app.screen.query_one("#exchanges", VerticalScroll)
        last = app.screen.query(Exchange).last()
        assert exchanges.max_scroll_y > 40
        assert last.region.y == exchanges.content_region.y
        top = exchanges.scroll_y
        await pilot.press("pagedown")
        await wait_for(pilot, lambda: exchanges.scroll_y > top)
        await pilot.press("pageup", "shift+tab")
        await wait_for(pilot, lambda: exchanges.scroll_y == top)
        assert exchanges.has_focus
        await pilot.press("down")
        await wait_for(pilot, lambda: exchanges.scroll_y == top + 1)


@pytest.mark.usefixtures("fake_chat")
async def test_a_bundle_is_chosen_from_runs_exports_and_folders(home: Path, tmp_path: Path) -> None:
    run = fakes.write_run(home / "runs" / "one", fakes.finished())
    of_run = fakes.write_bundle(run / "bundle")
    exported = fakes.write_bundle(tmp_path / "deep" / "exported")
    task = ExportTask(str(run), str(exported), "mine", "auto")
    write_task(home / "tasks" / "20250101-000000-export", task)
    mine = fakes.write_bundle(tmp_path / "deep" / "mine")
    here = fakes.write_bundle(tmp_path / "here")
    app = PTuneApp("chat")
    async with opened(app, size=(80, 24)) as pilot:
        assert app.screen.state == "no bundle"
        await pilot.press("o")
        screen = await list_of_bundles(pilot)
        choices = screen.query_one("#choices", OptionList)
        known = [option.id for option in choices.options if option.id]
        assert known == [str(of_run), str(exported), str(here)]
        await pilot.press("down", "enter")
        chat = await chat_with(pilot, exported)
        await pilot.press("f8")
        screen = await list_of_bundles(pilot)
        await wait_for(pilot, lambda: screen.highlighted == str(exported))
        await pilot.press("b")
        await wait_for(pilot, lambda: isinstance(app.screen, BundleFilesScreen))
        browser = app.screen
        assert isinstance(browser, BundleFilesScreen)
        await wait_for(pilot, lambda: browser.highlighted == str(exported))
        await pilot.press("down", "enter")
        assert await chat_with(pilot, mine) is chat


async def list_of_bundles(pilot: Pilot[None]) -> BundlesScreen:
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, BundlesScreen))
    screen = pilot.app.screen
    assert isinstance(screen, BundlesScreen)
    await wait_for(pilot, lambda: screen.query("#choices") and screen.highlighted)
    return screen


async def chat_with(pilot: Pilot[None], bundle: Path) -> ChatScreen:
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
    screen = pilot.app.screen
    assert isinstance(screen, ChatScreen)
    await wait_for(pilot, lambda: screen.state == "ready" and screen._opened[0] == bundle)
    return screen
