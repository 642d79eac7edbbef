"""Keys that lead from one place to the next, and those of the browser and the colours."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.command import CommandPalette

from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.screens.chat import ChatScreen
from ptune_tui.tui.screens.data_sets import DataSetsScreen
from ptune_tui.tui.screens.export import ExportScreen
from ptune_tui.tui.screens.files import FilesScreen
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.helpers import opened, wait_for


async def test_a_finished_run_is_exported_by_x_and_its_bundle_asked_by_c(
    tmp_path: Path, fake_chat: None
) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    fakes.write_bundle(run / "bundle")
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.check_action("export", ()) is True)
        await pilot.press("x")
        await wait_for(pilot, lambda: isinstance(app.screen, ExportScreen))
        await pilot.press("f3")
        await wait_for(pilot, lambda: app.screen.check_action("chat", ()) is True)
        await pilot.press("c")
        await wait_for(pilot, lambda: isinstance(app.screen, ChatScreen))
        await wait_for(pilot, lambda: getattr(app.screen, "state", "") == "ready")


async def test_an_export_that_has_ended_is_asked_by_c(
    home: Path, use_worker: UseWorker, fake_chat: None
) -> None:
    run = fakes.write_run(home / "runs" / "one", fakes.finished())
    use_worker(fakes.exported(run / "bundle"))
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.check_action("start", ()) is True)
        await pilot.press("f5")
        await wait_for(pilot, lambda: app.session.export and not app.session.export.is_active)
        fakes.write_bundle(run / "bundle")
        await wait_for(pilot, lambda: app.screen.check_action("chat", ()) is True)
        await pilot.press("c")
        await wait_for(pilot, lambda: isinstance(app.screen, ChatScreen))


async def test_h_leads_the_browser_to_the_user_s_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.csv").write_text("prompt,response\na,b\n")
    monkeypatch.setenv("HOME", str(own))
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("d")
        await wait_for(pilot, lambda: isinstance(app.screen, DataSetsScreen))
        await pilot.press("b")
        await wait_for(pilot, lambda: isinstance(app.screen, FilesScreen))
        await pilot.press("h")
        await wait_for(pilot, lambda: app.screen.highlighted == str(own / "mine.csv"))


async def test_ctrl_t_offers_other_colours() -> None:
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        before = app.theme
        await pilot.press("ctrl+t")
        await wait_for(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"light", "enter")
        await wait_for(pilot, lambda: app.theme != before)
        assert not app.current_theme.dark
