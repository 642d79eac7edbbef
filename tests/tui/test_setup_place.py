"""The form: what it says, and what it starts."""

from __future__ import annotations

import pytest
from textual.widgets import Button, Input, Static

from ptune_tui.tasks import PreviewTask, TrainTask, read_task
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.screens.train import TrainScreen
from ptune_tui.tui.widgets.field_row import FieldRow
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.helpers import opened, run_folder, wait_for

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


@SIZES
async def test_enter_alone_starts_a_run_with_the_defaults(
    size: tuple[int, int], use_worker: UseWorker
) -> None:
    use_worker(fakes.running(), fakes.FOREVER)
    app = PTuneApp()
    async with opened(app, size=size) as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, TrainScreen))
        task = read_task(run_folder(app))
        assert isinstance(task, TrainTask)
        assert task.config.data.train == "support_inbox"
        await wait_for(pilot, lambda: "120/300" in app.status_text())


async def test_form_errors_show_under_the_field_and_hold_the_start() -> None:
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
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
    use_worker(fakes.beginning(), fakes.FOREVER)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
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
    async with opened(app, size=(80, 24)) as pilot:
        text = app.screen.query_one("#preview-text", Static)
        assert "F6" in str(text.render())
        await pilot.press("f6")
        await wait_for(pilot, lambda: "[returns|<|im_end|>]" in str(text.render()))
        assert app.session.preview is not None
        assert isinstance(read_task(app.session.preview.job.folder), PreviewTask)
