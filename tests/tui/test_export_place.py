"""The place Export: its form, its keys, its endings."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Static

from ptune_tui import jobs
from ptune_tui.bundles import BundleCard, read_card
from ptune_tui.events import Event, Notice
from ptune_tui.locks import own_lock
from ptune_tui.tasks import ExportTask, read_task
from ptune_tui.tui import export_check
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.export_choice import FORCE
from ptune_tui.tui.focus_help import focus_help
from ptune_tui.tui.screens.export import ExportScreen
from ptune_tui.tui.widgets.field_row import FieldRow, row_id
from ptune_tui.tui.widgets.run_panels import Problem
from ptune_tui.tui.widgets.run_table import RunTable
from ptune_tui.tui.widgets.steady import Steady
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.helpers import opened, settled, wait_for


@pytest.fixture
def runs(home: Path) -> Path:
    """Two runs that have ended, and one that goes on."""
    fakes.write_run(home / "runs" / "one", fakes.finished())
    fakes.write_run(home / "runs" / "two", fakes.finished())
    fakes.write_run(home / "runs" / "busy", fakes.running(), is_held=True)
    return home / "runs"


async def ready(pilot: Pilot[None]) -> ExportScreen:
    screen = pilot.app.screen
    assert isinstance(screen, ExportScreen)
    await wait_for(pilot, lambda: screen.check_action("start", ()))
    return screen


def row(screen: ExportScreen, name: str) -> FieldRow:
    return screen.query_one(f"#{row_id(name)}", FieldRow)


def written(screen: ExportScreen, widget: str) -> str:
    return str(screen.query_one(widget, Static).render())


async def test_form_makes_the_task_and_its_command(runs: Path, use_worker: UseWorker) -> None:
    use_worker([], fakes.FOREVER)
    fakes.write_bundle(runs / "two" / "bundle")
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        assert set(screen.sources) == {"one", "two"}
        row(screen, "run").text = "one"
        row(screen, "make").text = "prompt into a bundle"
        row(screen, "precision").text = "exact"
        row(screen, "name").text = "commands"
        await settled(pilot)
        assert screen.choice is None  # the bundle has a prompt of that name
        assert row(screen, "taken").has_class("-wrong")
        row(screen, "taken").text = "replace it"
        await settled(pilot)
        await pilot.press("y")
        bundle = runs / "two" / "bundle"
        command = f"ptune export one --into {bundle} --name commands --precision exact --overwrite"
        assert app.clipboard == command
        await pilot.press("f5")
        assert app.session.export is not None
        task = read_task(app.session.export.job.folder)
        assert task == ExportTask(
            str(runs / "one"), str(bundle), "commands", "exact", overwrite=True, is_addition=True
        )


@pytest.mark.parametrize(("make", "name"), [("GGUF folder", "gguf"), ("ONNX folder", "onnx")])
async def test_folder_for_another_program_has_no_precision_and_no_chat(
    runs: Path, use_worker: UseWorker, make: str, name: str
) -> None:
    use_worker(fakes.exported(runs / name))
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        row(screen, "run").text = "two"
        row(screen, "precision").text = "fast"
        row(screen, "make").text = make
        await settled(pilot)
        assert not row(screen, "precision").display
        assert screen.choice is not None
        assert screen.choice.command() == (
            f"ptune export two --out {runs / 'two' / name} --format {name}"
        )
        assert screen.choice.task().precision == "auto"
        await pilot.click("#export-start")
        await wait_for(pilot, lambda: "136 MB" in written(screen, "#checks"))
        assert screen.check_action("chat", ()) is None
        assert app.session.bundle is None


async def test_what_a_bundle_answers_in_is_seen_however_much_is_said_of_it(
    runs: Path, use_worker: UseWorker
) -> None:
    notices: list[Event] = [Notice("slow", f"Number {n}.") for n in range(12)]
    use_worker([*notices, *fakes.exported(runs / "one" / "bundle")])
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        await pilot.click("#export-start")
        line = screen.query_one("#export-ending", Steady)
        await wait_for(pilot, lambda: line.plain.startswith("✓ answers in fast · 136 MB"))
        await settled(pilot)
        assert screen.query_one("#checks-box").max_scroll_y > 0
        assert screen.query_one("#checks-box").region.contains_region(line.region)


async def test_only_notices_that_are_more_than_a_choice_are_pinned(
    runs: Path, use_worker: UseWorker
) -> None:
    chosen = Notice("device", "The model computes on cpu in float32, as asked.")
    kernel = Notice("kernel", "Scores and answers use the kernel `cached`.")
    use_worker([*fakes.exporting(), chosen, kernel, *fakes.exported(runs / "one")])
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        await pilot.click("#export-start")
        await wait_for(pilot, lambda: "136 MB" in written(screen, "#checks"))
        pinned = written(screen, "#notices")
        assert pinned.startswith("! `throughput` is at KL 0.0123")
        assert "computes on" not in pinned
        assert "kernel" not in pinned


async def test_what_was_just_exported_is_no_fault_of_the_form(
    runs: Path, use_worker: UseWorker
) -> None:
    use_worker(fakes.exported(runs / "gguf"))
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        row(screen, "make").text = "GGUF folder"
        await settled(pilot)
        await pilot.click("#export-start")
        await wait_for(pilot, lambda: "136 MB" in written(screen, "#checks"))
        Path(row(screen, "to").text).mkdir(parents=True)
        await screen._look()
        assert not row(screen, "taken").display
        assert "--format gguf" in written(screen, "#export-command")
        row(screen, "weights").text = FORCE  # another one, to the same folder
        await settled(pilot)
        assert row(screen, "taken").display
        assert "a field is wrong" in written(screen, "#export-command")


async def test_wrong_base_and_wrong_name_are_said_before_the_start(runs: Path) -> None:
    other = fakes.write_bundle(runs.parent / "other", weights_hash="4567")
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        row(screen, "make").text = "prompt into a bundle"
        await settled(pilot)
        assert "name a bundle" in written(screen, f"#{row_id('to')} .field-error")
        row(screen, "to").text = str(other)
        row(screen, "name").text = "a b"
        await settled(pilot)
        assert "other weights than the run's" in written(screen, f"#{row_id('to')} .field-error")
        assert "cannot be a prompt's name" in written(screen, f"#{row_id('name')} .field-error")
        assert screen.check_action("start", ()) is None


@pytest.mark.parametrize("folder", ["~nosuchuser/bundle", "x" * 300])
async def test_folder_that_cannot_be_looked_at_is_said(runs: Path, folder: str) -> None:
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        row(screen, "to").text = folder
        await settled(pilot)
        assert "cannot be looked at" in written(screen, f"#{row_id('to')} .field-error")
        assert screen.check_action("start", ()) is None
        row(screen, "to").text = str(runs / "free")
        await settled(pilot)
        assert screen.check_action("start", ()) is True


@pytest.mark.usefixtures("runs")
async def test_cancelled_export_says_that_nothing_is_there(use_worker: UseWorker) -> None:
    use_worker(fakes.exporting(), fakes.FOREVER)
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        await pilot.press("f5")
        await wait_for(pilot, lambda: "100.0 %" in written(screen, "#checks"))
        assert screen.check_action("start", ()) is None
        await pilot.press("s")
        await wait_for(pilot, lambda: not app.session.is_exporting)
        await wait_for(
            pilot, lambda: "nothing was put in place" in written(screen, "#export-ending")
        )
        assert not screen.query_one(Problem).display
        assert screen.check_action("start", ()) is True


@pytest.mark.usefixtures("runs")
async def test_failed_export_shows_why_and_what_to_do(use_worker: UseWorker) -> None:
    use_worker(fakes.export_failed())
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        await pilot.press("f5")
        await wait_for(pilot, lambda: screen.query_one(Problem).display)
        assert "Free some space" in written(screen, "#problem")
        assert screen.check_action("start", ()) is True


async def test_an_export_of_another_terminal_keeps_ours_from_starting_and_no_training(
    runs: Path, use_worker: UseWorker
) -> None:
    use_worker(fakes.exporting(), fakes.FOREVER)
    task = ExportTask(str(runs / "two"), str(runs / "two" / "gguf"), "mine", owner=own_lock())
    jobs.start(jobs.new_task_folder("export"), task)
    app = PTuneApp("export")
    async with opened(app, size=(120, 40)) as pilot:
        start = app.screen.query_one("#export-start", Button)
        await wait_for(pilot, lambda: start.label.plain == "Exporting...")
        await pilot.press("f5")
        assert "no other work that goes on" in [n.message for n in app._notifications][-1]
        await pilot.press("f10")
        table = app.screen.query_one(RunTable)
        await wait_for(pilot, lambda: table.highlighted is not None)
        table.move_cursor(row=[run.name for run in app.screen.runs].index("two"))
        await wait_for(pilot, lambda: table.highlighted.path == runs / "two")
        await pilot.press("d")
        assert "that nobody works on" in [n.message for n in app._notifications][-1]
        await pilot.press("f2")
        start = app.screen.query_one("#start", Button)
        await wait_for(pilot, lambda: not start.disabled)
        use_worker(fakes.running(), fakes.FOREVER)
        await pilot.press("f5")
        await wait_for(pilot, lambda: app.status_text() == "▸ training 120/300")
        assert app.session.is_exporting
        await settled(pilot)


@pytest.mark.usefixtures("runs")
async def test_room_is_checked_for_what_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_check, "free_disk_bytes", lambda _: 300 << 20)
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        # 1.15 of the quantised bytes, and for `auto` of one byte a parameter as well
        assert "268 MB" in written(screen, "#export-space")
        row(screen, "make").text = "transformers folder"
        await settled(pilot)
        assert "619 MB" in written(screen, "#export-space")
        assert "too little" in written(screen, "#export-space")


async def test_run_whose_folder_is_gone_is_offered_no_more(runs: Path) -> None:
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        shutil.rmtree(runs / "one")
        await pilot.press("2", "5")
        await wait_for(pilot, lambda: set(screen.sources) == {"two"})
        await wait_for(pilot, lambda: screen.choice and screen.choice.source.path == runs / "two")


async def test_folder_for_transformers_has_a_type_and_other_weights_can_be_forced(
    runs: Path, use_worker: UseWorker
) -> None:
    use_worker([], fakes.FOREVER)
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        assert not row(screen, "dtype").display
        row(screen, "run").text = "one"
        row(screen, "make").text = "transformers folder"
        row(screen, "dtype").text = "bfloat16"
        row(screen, "weights").text = "export all the same"
        await settled(pilot)
        assert row(screen, "dtype").display
        assert "309 MB" in written(screen, "#export-space")  # half of that in float32
        folder = runs / "one" / "transformers"
        assert screen.choice is not None
        assert screen.choice.command() == (
            f"ptune export one --out {folder} --format transformers --dtype bfloat16 --force"
        )
        await pilot.press("f5")
        await wait_for(pilot, lambda: app.session.export)
        assert app.session.export is not None
        task = read_task(app.session.export.job.folder)
        assert isinstance(task, ExportTask)
        assert (task.float_type, task.force, task.overwrite) == ("bfloat16", True, False)
        row(screen, "make").text = "GGUF folder"
        await settled(pilot)
        assert "--dtype" not in screen.choice.command()


@pytest.mark.usefixtures("runs")
async def test_the_disk_is_looked_at_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()

    def looking(folder: Path) -> BundleCard | None:
        threads.add(threading.get_ident())
        return read_card(folder)

    monkeypatch.setattr(export_check, "read_card", looking)
    app = PTuneApp("export")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        row(screen, "make").text = "prompt into a bundle"
        await settled(pilot)
    assert threads
    assert threading.get_ident() not in threads


async def test_keys_scroll_what_is_measured(runs: Path, use_worker: UseWorker) -> None:
    use_worker(fakes.exported(runs / "bundle"))
    app = PTuneApp("export")
    async with opened(app, size=(80, 20)) as pilot:
        screen = await ready(pilot)
        await pilot.press("f5")
        await wait_for(pilot, lambda: app.session.export and not app.session.is_exporting)
        box = screen.query_one("#checks-box")
        await wait_for(pilot, lambda: box.max_scroll_y > 0)
        await settled(pilot)
        await pilot.press("pagedown")
        await wait_for(pilot, lambda: box.scroll_y > 0)
        box.focus()
        await pilot.press("home")
        await wait_for(pilot, lambda: box.scroll_y == 0)
        help_of_it = focus_help(app.focused)
        assert help_of_it is not None
        assert "steps and figures" in help_of_it.title
