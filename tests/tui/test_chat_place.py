"""The conversation with a bundle, against a child that is a real process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from ptune_tui import chats
from ptune_tui.conversation import Piece
from ptune_tui.tasks import ExportTask, write_task
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.screens.bundle_list import BundleFilesScreen, BundlesScreen
from ptune_tui.tui.screens.chat import ChatScreen
from ptune_tui.tui.screens.train import TrainScreen
from ptune_tui.tui.widgets.exchange import Exchange
from ptune_tui.tui.widgets.exchanges import Exchanges
from ptune_tui.tui.widgets.field_row import Choice
from ptune_tui.tui.widgets.steady import Steady
from tests.tui import fakes
from tests.tui.conftest import UseWorker
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
async def test_the_end_of_the_answer_is_followed_and_keys_scroll_the_answers(
    tmp_path: Path,
) -> None:
    app = PTuneApp("chat", bundle=tmp_path)
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.state == "ready")
        await pilot.press(*"hi", "enter")
        await wait_for(pilot, lambda: app.screen.state == "ready" and app.screen.query(Exchange))
        await pilot.press(*"long", "enter")
        await wait_for(pilot, lambda: len(app.screen.query(Exchange)) == 2)
        await wait_for(pilot, lambda: app.screen.state == "ready")
        await pilot.pause()
        exchanges = app.screen.query_one("#exchanges", Exchanges)
        last = app.screen.query(Exchange).last()
        end = exchanges.max_scroll_y
        assert end > 40
        assert exchanges.scroll_y == end
        assert last.region.bottom <= exchanges.region.bottom
        await pilot.press("pageup")
        await wait_for(pilot, lambda: exchanges.scroll_y < end)
        top = exchanges.scroll_y
        more = Piece(2, "base", "and more\n" * 10, 70)
        exchanges.add_piece(more)
        await wait_for(pilot, lambda: exchanges.max_scroll_y > end)
        await pilot.pause()
        assert exchanges.scroll_y == top  # who has scrolled up stays there
        await pilot.press("pagedown", "pagedown", "pagedown")
        await wait_for(pilot, lambda: exchanges.scroll_y == exchanges.max_scroll_y)
        end = exchanges.max_scroll_y
        exchanges.add_piece(more)
        await wait_for(pilot, lambda: exchanges.max_scroll_y > end)
        await wait_for(pilot, lambda: exchanges.scroll_y == exchanges.max_scroll_y)
        await pilot.press("shift+tab")
        assert exchanges.has_focus
        await pilot.press("up")
        await wait_for(pilot, lambda: exchanges.scroll_y == exchanges.max_scroll_y - 1)


@pytest.mark.usefixtures("fake_chat")
async def test_typing_replaces_the_example_however_chat_was_reached(home: Path) -> None:
    run = fakes.write_run(home / "runs" / "one", fakes.finished())
    bundle = fakes.write_bundle(run / "bundle")
    example = "My login works at home and not at work."
    app = PTuneApp("chat", attach=run, bundle=bundle)
    async with opened(app, size=(80, 24)) as pilot:
        chat = app.screen
        ask = chat.query_one("#ask", Input)
        await wait_for(pilot, lambda: ask.value)
        assert (ask.value, ask.selected_text, ask.has_focus) == (example, example, True)
        await pilot.press("f4")
        await wait_for(pilot, lambda: app.screen is not chat)
        await pilot.press("6")
        await wait_for(pilot, lambda: app.screen is chat)
        await pilot.press("f6")  # the other precision opens the bundle again
        await wait_for(pilot, lambda: chat._ready.precision == "exact")
        assert ask.selected_text == example
        await pilot.press(*"hi")
        assert ask.value == "hi"
        await pilot.press("f4")
        await wait_for(pilot, lambda: app.screen is not chat)
        await pilot.press("f9")  # what one has written oneself stays, and is gone on with
        await wait_for(pilot, lambda: app.screen is chat)
        await pilot.press("!")
        assert ask.value == "hi!"


@pytest.mark.usefixtures("fake_chat")
async def test_enter_sends_the_example_of_a_bundle_that_was_chosen(home: Path) -> None:
    run = fakes.write_run(home / "runs" / "one", fakes.finished())
    fakes.write_bundle(run / "bundle")
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        app.session.talk.bundle = None
        await pilot.press("6")
        await wait_for(pilot, lambda: isinstance(app.screen, ChatScreen))
        await pilot.press("f8")
        await list_of_bundles(pilot)
        await pilot.press("enter")
        chat = await chat_with(pilot, app.session.run_bundle)
        ask = chat.query_one("#ask", Input)
        await wait_for(pilot, lambda: ask.selected_text)
        assert ask.selected_text == ask.value == app.session.example
        await pilot.press("enter")
        await wait_for(pilot, lambda: chat.query(Exchange))
        assert chat.query_one(Exchange).question == app.session.example


async def test_a_bundle_that_is_being_written_is_told_of(home: Path, use_worker: UseWorker) -> None:
    run = fakes.write_run(home / "runs" / "one", fakes.finished())
    use_worker(fakes.exporting(), fakes.FOREVER)
    app = PTuneApp("chat")
    async with opened(app, size=(80, 24)) as pilot:
        words = app.screen.query_one("#no-bundle", Steady)
        assert "set up a run" in words.plain
        app.session.start_export(ExportTask(str(run), "/tmp/mine", "mine", "auto"))
        await wait_for(pilot, lambda: "one is being written: /tmp/mine" in words.plain)
        assert "5  watch it" in words.plain
        app.session.cancel_export()
        await wait_for(pilot, lambda: "being written" not in words.plain)


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


async def test_a_bundle_whose_child_was_ended_while_it_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(chats, "chat_command", lambda *_: sleeper)
    app = PTuneApp(bundle=fakes.write_bundle(tmp_path / "bundle"))
    async with opened(app, size=(80, 24)) as pilot:
        talk = app.session.talk
        await wait_for(pilot, lambda: talk.child is not None)
        first = talk.child
        talk.end()  # as when another bundle is chosen, and then this one again
        await wait_for(pilot, lambda: app.screen._opened == (None, 0))
        app.refresh_place()
        await wait_for(pilot, lambda: talk.child not in (None, first))
