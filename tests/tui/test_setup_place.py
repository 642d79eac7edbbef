"""The form: what it says, and what it starts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Button, Input, Label, Static
from textual.widgets._footer import FooterKey

from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError
from ptune_tui.events import TaskFailed
from ptune_tui.lineup import Lineup
from ptune_tui.presets import preset_values
from ptune_tui.tasks import CompareTask, FindRateTask, PreviewTask, TrainTask, read_task
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.preset_form import data_size, preset_texts
from ptune_tui.tui.screens import setup
from ptune_tui.tui.screens.questions import LeaveScreen
from ptune_tui.tui.screens.rate import RateScreen
from ptune_tui.tui.screens.setup import SetupScreen
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
        assert command == "y copies  $ ptune train --data home_commands --seed 7"
        await pilot.press("f5")
        await pilot.pause()
        task = read_task(run_folder(app))
        assert isinstance(task, TrainTask)
        assert task.config.training.seed == 7


async def test_preset_fills_what_the_user_did_not_write(
    use_worker: UseWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(fakes.beginning(), fakes.FOREVER)
    may_read = threading.Event()

    def read_later(*arguments: Any) -> dict[str, str]:
        assert may_read.wait(30)
        return preset_texts(*arguments)

    monkeypatch.setattr(setup, "preset_texts", read_later)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:

        def row(name: str) -> FieldRow:
            return app.screen.query_one(f"#field-{name}", FieldRow)

        row("training-batch-size").text = "8"
        row("preset").text = "balanced"
        await wait_for(pilot, lambda: app.screen.check_action("start", ()) is None)
        await pilot.press("f5")
        assert app.session.run is None  # not before the preset has looked at the data
        may_read.set()
        values = preset_values("balanced", data_size(DataConfig()))
        steps = str(values["training.max_steps"])
        await wait_for(pilot, lambda: row("training-max-steps").text == steps)
        assert row("method-name").text == values["method.name"] == "prefix"
        assert row("training-batch-size").text == "8"
        row("training-max-steps").text = "77"
        row("preset").text = "none"
        await wait_for(pilot, lambda: row("method-name").text == "prompt")
        assert row("training-max-steps").text == "77"
        assert row("training-batch-size").text == "8"
        await wait_for(pilot, lambda: not app.screen.query_one("#start", Button).disabled)
        await pilot.press("f5")
        await wait_for(pilot, lambda: app.session.run)
        task = read_task(run_folder(app))
    assert isinstance(task, TrainTask)
    assert task.config.training.max_steps == 77


@pytest.mark.parametrize(
    "error",
    [DataError("It is not here yet.", ""), PermissionError(13, "Permission denied", "a.csv")],
    ids=["absent", "unreadable"],
)
async def test_preset_that_could_not_look_looks_again_after_the_preview(
    error: Exception, use_worker: UseWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(fakes.preview())
    app = PTuneApp()

    def read_fetched(*_: Any) -> dict[str, str]:
        if app.session.trials.preview is None:
            raise error
        return preset_texts(None, DataConfig())  # nothing that the form does not hold

    monkeypatch.setattr(setup, "preset_texts", read_fetched)
    async with opened(app, size=(80, 24)) as pilot:
        assert isinstance(app.screen, SetupScreen)
        preset, start = app.screen.form.rows["preset"], app.screen.query_one("#start", Button)
        preset.text = "balanced"
        await wait_for(pilot, lambda: preset.has_class("-wrong"))
        assert start.disabled
        app.screen.action_preview()
        await wait_for(pilot, lambda: not start.disabled)
        assert not preset.has_class("-wrong")


@pytest.mark.parametrize(("place", "button"), [("setup", "#start"), ("export", "#export-start")])
async def test_new_work_waits_for_a_table_that_is_made(
    home: Path, place: str, button: str, use_worker: UseWorker
) -> None:
    use_worker(fakes.comparing(), fakes.FOREVER)
    fakes.write_run(home / "runs" / "one", fakes.finished())
    app = PTuneApp(place)
    async with opened(app, size=(80, 24)) as pilot:
        start = app.screen.query_one(button, Button)
        await wait_for(pilot, lambda: not start.disabled)
        app.session.comparison.start_table(CompareTask(Lineup(run="one"), None, ""))
        await wait_for(pilot, lambda: start.disabled)
        assert start.label.plain == "Comparing..."
        await pilot.press("f5")
        assert app.session.run is None
        assert app.session.export is None
        app.session.comparison.cancel_table()
        await wait_for(pilot, lambda: not start.disabled)


async def test_an_earlier_prompt_is_asked_for_only_where_it_is_the_start() -> None:
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        assert isinstance(app.screen, SetupScreen)
        earlier = app.screen.form.rows["method.init_prompt"]
        assert not earlier.is_attached
        app.screen.query_one("#field-method-init", FieldRow).text = "prompt"
        await pilot.pause()
        assert earlier.is_attached
        assert earlier.display
        assert app.screen.query_one("#start", Button).disabled
        assert "folder of a run" in str(earlier.query_one(".field-error", Static).render())


@SIZES
async def test_rate_that_is_found_is_taken_over(
    size: tuple[int, int], use_worker: UseWorker
) -> None:
    use_worker(fakes.rates())
    app = PTuneApp()
    async with opened(app, size=size) as pilot:
        rate = app.screen.query_one("#field-training-learning-rate", FieldRow)
        assert "the method's own" in str(rate.query_one(".field-default", Label).render())
        await pilot.press("f7")
        await wait_for(pilot, lambda: isinstance(app.screen, RateScreen))
        assert app.session.trials.rate is not None
        task = read_task(app.session.trials.rate.job.folder)
        assert isinstance(task, FindRateTask)
        assert task.config.data.train == "support_inbox"
        await wait_for(pilot, lambda: app.screen.check_action("take_rate", ()))
        await pilot.pause(0.3)
        assert "0.25 is proposed" in str(app.screen.query_one("#rate-sentence", Static).render())
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        await pilot.pause()
        assert rate.text == "0.25"
        command = str(app.screen.query_one("#command", Static).render())
        assert command == "y copies  $ ptune train --learning-rate 0.25"


async def test_rate_test_that_is_left_ends_and_changes_nothing(use_worker: UseWorker) -> None:
    use_worker(fakes.rates(12, is_over=False), fakes.FOREVER)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("f7")
        await wait_for(
            pilot, lambda: app.session.trials.rate and app.session.trials.rate.state.tried
        )
        assert app.session.trials.rate is not None
        job = app.session.trials.rate.job
        assert app.screen.check_action("take_rate", ()) is None
        await pilot.press("3", "2")
        await wait_for(pilot, lambda: isinstance(app.screen, RateScreen))
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        await wait_for(pilot, lambda: not job.is_alive())
        assert app.screen.query_one("#field-training-learning-rate", FieldRow).text == ""


async def test_rows_that_the_preview_cannot_read_hold_the_start(
    tmp_path: Path, use_worker: UseWorker
) -> None:
    rows = tmp_path / "some faulty.csv"
    rows.write_text("text,label\na,x\n,y\n")
    use_worker([TaskFailed("data", "some faulty.csv:3: `text` is empty.", "Fill it in.", "/log")])
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        assert isinstance(app.screen, SetupScreen)
        fit, start = app.screen.query_one("#fit", Static), app.screen.query_one("#start", Button)
        await wait_for(pilot, lambda: str(fit.render()).startswith("✓ fits"))
        app.screen.form.write({"data.train": rows.name})
        await pilot.press("f6")
        await wait_for(pilot, lambda: start.disabled)
        words = str(fit.render())
        assert words.startswith(
            "✗ no run can read the rows; ptune data check 'some faulty.csv' --fix"
        )
        await pilot.press("f5", "f7")
        assert app.session.run is None
        assert app.session.trials.rate is None
        notes = [note.message for note in app._notifications]
        assert notes[0].startswith("The rows cannot be read: some faulty.csv:3: `text` is empty.")
        use_worker(fakes.preview())
        await pilot.press("f6")  # mended meanwhile
        await wait_for(pilot, lambda: not start.disabled)
        assert str(fit.render()).startswith("✓ fits")


async def test_rate_test_that_goes_on_is_not_lost_unasked(use_worker: UseWorker) -> None:
    use_worker(fakes.rates(12, is_over=False), fakes.FOREVER)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("f7")
        await wait_for(pilot, lambda: app.session.trials.is_finding_rate)
        await pilot.press("ctrl+q")
        assert isinstance(app.screen, LeaveScreen)
        title = str(app.screen.query_one(".question-title", Static).render())
        assert title == "The range test still goes on."
        await pilot.press("s", "k")  # it can be neither saved nor left
        assert isinstance(app.screen, LeaveScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, RateScreen)
        assert app.session.trials.rate is not None
        job = app.session.trials.rate.job
        assert job.is_alive()
        await pilot.press("q", "d")
        await wait_for(pilot, lambda: not app.is_running)
        assert not job.is_alive()


async def test_defaults_are_taken_back_by_the_same_key() -> None:
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        assert isinstance(app.screen, SetupScreen)
        written = {"training.max_steps": "0", "training.seed": "7", "data.train": "home_commands"}
        app.screen.form.write(written)
        for expected in ("300", "0", "300"):
            await pilot.press("f8")
            await pilot.pause()
            assert app.screen.form.texts["training.max_steps"] == expected
        await pilot.press("f8")
        await pilot.pause()
        assert written.items() <= app.screen.form.texts.items()


async def test_finding_a_rate_is_offered_where_it_is_narrow(use_worker: UseWorker) -> None:
    use_worker(fakes.rates(12, is_over=False), fakes.FOREVER)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        keys = [key.key_display for key in app.screen.query(FooterKey)]
        assert {"F5", "F7", "m", "d", "^q", "F1"} <= set(keys)
        await pilot.press("f7")
        await wait_for(pilot, lambda: isinstance(app.screen, RateScreen))
        sentence = app.screen.query_one("#rate-sentence", Static)
        await wait_for(pilot, lambda: "12 of 80 rates tried" in str(sentence.render()))


async def test_rate_test_that_fails_says_why(use_worker: UseWorker) -> None:
    use_worker([TaskFailed("data", "There is no data file.", "Give a path.", "")])
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.press("f7")
        await wait_for(
            pilot, lambda: app.session.trials.rate and app.session.trials.rate.state.task.is_over
        )
        await pilot.pause(0.3)
        text = str(app.screen.query_one("#rate-sentence", Static).render())
        assert text == "✗ There is no data file. Give a path."


async def test_preview_is_made_by_a_worker(use_worker: UseWorker) -> None:
    use_worker(fakes.preview())
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        text = app.screen.query_one(".preview-text", Static)
        assert "F6" in str(text.render())
        await pilot.press("f6")
        await wait_for(pilot, lambda: "[returns|<|im_end|>]" in str(text.render()))
        assert app.session.trials.preview is not None
        assert isinstance(read_task(app.session.trials.preview.job.folder), PreviewTask)


async def test_a_changed_model_is_not_called_default_twice() -> None:
    app = PTuneApp("setup")
    async with opened(app, size=(120, 40)) as pilot:
        model = app.screen.query_one("#field-model-source", FieldRow)
        word = model.query_one(".field-default", Label)
        assert str(word.render()) == "default"
        model.text = "other"
        await wait_for(pilot, lambda: str(word.render()) != "default")
        assert str(word.render()) == "changed"
