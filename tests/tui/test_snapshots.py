"""A picture of every place in its states. New pictures: `pytest tests/tui --snapshot-update`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import Input, Static

from ptune_tui.events import TaskFailed
from ptune_tui.kept_tables import add_table
from ptune_tui.tui import export_choice
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.screens import export
from ptune_tui.tui.widgets.field_row import FieldRow
from tests.report.results import evaluation
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.helpers import settled, shown, wait_for

Compare = Callable[..., bool]
Prepare = Callable[[Pilot[None]], Awaitable[None]]

both_sizes = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


@pytest.fixture
def export_app(home: Path, monkeypatch: pytest.MonkeyPatch) -> PTuneApp:
    """The place Export with a run that has ended, on a disk that is always as full."""
    fakes.write_run(home / "runs" / "one", fakes.finished())
    destination = "/home/user/runs/one/bundle"
    monkeypatch.setattr(export, "default_destination", lambda *_: destination)
    monkeypatch.setattr(export_choice, "free_disk_bytes", lambda _: 12 << 30)
    return PTuneApp("export", clock=clock)


def clock() -> float:
    return fakes.START + 130


async def settle(pilot: Pilot[None]) -> None:
    """Wait until the setup has looked at the machine."""
    await shown(pilot)
    await pilot.pause(0.5)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def runs_after(*keys: str) -> Prepare:
    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await wait_for(pilot, lambda: pilot.app.screen.runs is not None)  # type: ignore[attr-defined]
        for key in keys:
            await pilot.press(key)
        await settled(pilot)

    return prepare


@both_sizes
def test_runs_without_a_run(
    snap_compare: Compare, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTUNE_HOME", "home")
    assert snap_compare(PTuneApp("runs"), terminal_size=size, run_before=runs_after())


@both_sizes
@pytest.mark.usefixtures("some_runs")
@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(("down",), id="failed"),
        pytest.param(("down", "down", "space", "down", "space", "v"), id="compared"),
    ],
)
def test_runs(snap_compare: Compare, size: tuple[int, int], keys: tuple[str, ...]) -> None:
    app = PTuneApp(clock=lambda: fakes.START + 5 * 3600)
    assert snap_compare(app, terminal_size=size, run_before=runs_after(*keys))


@both_sizes
def test_setup(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(PTuneApp(), terminal_size=size, run_before=settle)


@both_sizes
def test_setup_with_a_preview(
    snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker
) -> None:
    use_worker(fakes.preview())

    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await settle(pilot)
        await pilot.press("f6")
        session = pilot.app.session  # type: ignore[attr-defined]
        await wait_for(pilot, lambda: session.preview and session.preview.state.made)
        await pilot.pause(0.3)

    assert snap_compare(PTuneApp(), terminal_size=size, run_before=prepare)


@both_sizes
def test_setup_with_a_wrong_field(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        row = pilot.app.screen.query_one("#field-training-learning-rate", FieldRow)
        row.query_one(Input).focus()
        row.text = "fast"
        await settle(pilot)

    assert snap_compare(PTuneApp(), terminal_size=size, run_before=prepare)


@both_sizes
def test_setup_with_a_preset(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def prepare(pilot: Pilot[None]) -> None:
        await settle(pilot)
        pilot.app.screen.query_one("#field-preset", FieldRow).text = "balanced"
        pilot.app.screen.query_one("#field-training-batch-size", FieldRow).text = "8"
        await settle(pilot)

    assert snap_compare(PTuneApp(), terminal_size=size, run_before=prepare)


def after_finding(words: str, status: str) -> Prepare:
    async def prepare(pilot: Pilot[None]) -> None:
        await settle(pilot)
        await pilot.press("f7")
        await wait_for(pilot, lambda: pilot.app.screen.query("#rate-sentence"))
        sentence = pilot.app.screen.query_one("#rate-sentence", Static)
        await wait_for(pilot, lambda: words in str(sentence.render()))
        app = pilot.app
        await wait_for(pilot, lambda: app.status_text() == status)  # type: ignore[attr-defined]
        await pilot.pause(0.5)
        await pilot.pause()

    return prepare


@both_sizes
def test_rates_being_tried(
    snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker
) -> None:
    use_worker(fakes.rates(24, is_over=False), fakes.FOREVER)
    assert snap_compare(
        PTuneApp(), terminal_size=size, run_before=after_finding("24 rates", "▸ finding a rate")
    )


@both_sizes
def test_rate_proposed(snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker) -> None:
    use_worker(fakes.rates())
    assert snap_compare(PTuneApp(), terminal_size=size, run_before=after_finding("proposed", ""))


@both_sizes
def test_train_without_a_run(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(PTuneApp("train"), terminal_size=size, run_before=shown)


@both_sizes
def test_train_running(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.running(), is_held=True)
    assert snap_compare(PTuneApp(attach=run, clock=clock), terminal_size=size, run_before=shown)


@both_sizes
def test_train_with_the_reasons_of_its_plan(
    snap_compare: Compare, size: tuple[int, int], tmp_path: Path
) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.running(), is_held=True)

    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await pilot.press("p")

    app = PTuneApp(attach=run, clock=clock)
    assert snap_compare(app, terminal_size=size, run_before=prepare)


@both_sizes
def test_train_rolled_back_and_resumed(
    snap_compare: Compare, size: tuple[int, int], tmp_path: Path
) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.diverged(), is_held=True)
    assert snap_compare(PTuneApp(attach=run, clock=clock), terminal_size=size, run_before=shown)


@both_sizes
def test_train_finished(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    assert snap_compare(PTuneApp(attach=run, clock=clock), terminal_size=size, run_before=shown)


@both_sizes
def test_train_failed(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.failed("/home/user/runs/one/worker.log"))
    assert snap_compare(PTuneApp(attach=run, clock=clock), terminal_size=size, run_before=shown)


def exporting(condition: Callable[[PTuneApp], object]) -> Prepare:
    """Start the export of the run that is shown, and wait."""

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PTuneApp)
        await shown(pilot)
        await wait_for(pilot, lambda: app.screen.check_action("start", ()))
        await pilot.press("f5")
        await wait_for(pilot, lambda: condition(app))
        await pilot.pause(0.6)

    return prepare


@both_sizes
def test_export_ready(snap_compare: Compare, size: tuple[int, int], export_app: PTuneApp) -> None:
    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await wait_for(pilot, lambda: pilot.app.screen.check_action("start", ()))
        await pilot.pause(0.3)

    assert snap_compare(export_app, terminal_size=size, run_before=prepare)


@both_sizes
def test_export_running(
    snap_compare: Compare, size: tuple[int, int], export_app: PTuneApp, use_worker: UseWorker
) -> None:
    use_worker(fakes.exporting(), fakes.FOREVER)
    prepare = exporting(lambda app: app.session.export and app.session.export.state.parities)
    assert snap_compare(export_app, terminal_size=size, run_before=prepare)


@both_sizes
def test_export_done(
    snap_compare: Compare, size: tuple[int, int], export_app: PTuneApp, use_worker: UseWorker
) -> None:
    use_worker(fakes.exported(Path("/home/user/runs/one/bundle")))
    prepare = exporting(lambda app: getattr(app.focused, "id", "") == "export-chat")
    assert snap_compare(export_app, terminal_size=size, run_before=prepare)


@both_sizes
def test_export_failed(
    snap_compare: Compare, size: tuple[int, int], export_app: PTuneApp, use_worker: UseWorker
) -> None:
    use_worker(fakes.export_failed())
    prepare = exporting(lambda app: app.session.export and not app.session.is_exporting)
    assert snap_compare(export_app, terminal_size=size, run_before=prepare)


def test_export_without_a_run(snap_compare: Compare) -> None:
    assert snap_compare(PTuneApp("export"), terminal_size=(80, 24), run_before=settle)


@pytest.fixture
def compare_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that has ended, with a bundle; its path is the same in every test."""
    monkeypatch.setenv("PTUNE_HOME", home.name)
    run = fakes.write_run(Path(home.name) / "runs" / "one", fakes.finished())
    (run / "adapter" / "prompt.json").write_text('{"labels": ["account", "billing", "returns"]}')
    fakes.write_bundle(run / "bundle")
    return run


def comparing(*keys: str, until: Callable[[PTuneApp], object] = lambda _: True) -> Prepare:
    """Open the place Compare, press some keys, and wait."""

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PTuneApp)
        await shown(pilot)
        await wait_for(pilot, lambda: app.screen.check_action("start", ()))
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
        await wait_for(pilot, lambda: until(app))
        await pilot.pause(0.6)
        await settled(pilot)

    return prepare


def test_compare_without_a_run(snap_compare: Compare) -> None:
    assert snap_compare(PTuneApp("compare"), terminal_size=(80, 24), run_before=settle)


@both_sizes
@pytest.mark.usefixtures("compare_run")
def test_compare_ready(snap_compare: Compare, size: tuple[int, int]) -> None:
    app = PTuneApp("compare", clock=clock)
    assert snap_compare(app, terminal_size=size, run_before=comparing())


PARTS = ("table", "rows", "confusion", "classes", "calibration")


@pytest.mark.parametrize(
    ("part", "size"),
    [*((part, (80, 24)) for part in PARTS), ("table", (120, 40)), ("rows", (120, 40))],
    ids=lambda value: value if isinstance(value, str) else f"{value[0]}x{value[1]}",
)
def test_compare_with_a_table(
    snap_compare: Compare, size: tuple[int, int], part: str, compare_run: Path
) -> None:
    made = replace(
        evaluation(),
        flips_from="base, zero-shot",
        flips_to="tuned prompt",
        made_at=fakes.START - 7200,
    )
    add_table(compare_run, made)
    app = PTuneApp("compare", clock=clock)
    keys = ("v",) * PARTS.index(part)
    assert snap_compare(app, terminal_size=size, run_before=comparing(*keys))


@both_sizes
@pytest.mark.usefixtures("compare_run")
def test_compare_running(
    snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker
) -> None:
    use_worker(fakes.comparing(num_done=2), fakes.FOREVER)
    app = PTuneApp("compare", clock=clock)
    prepare = comparing(
        "f5",
        until=lambda app: app.session.comparison.table.state.lines[3:],  # type: ignore[union-attr]
    )
    assert snap_compare(app, terminal_size=size, run_before=prepare)


@both_sizes
@pytest.mark.usefixtures("compare_run")
def test_compare_failed(
    snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker
) -> None:
    message = "The prompt was trained on other weights than those of smollm2-135m-instruct."
    failure = TaskFailed("model", message, "Use the model it was trained on.", "/home/user/log")
    use_worker([*fakes.comparing(num_done=0), failure])
    app = PTuneApp("compare", clock=clock)
    prepare = comparing("f5", until=lambda app: not app.session.comparison.is_making_table)
    assert snap_compare(app, terminal_size=size, run_before=prepare)


@both_sizes
@pytest.mark.usefixtures("compare_run")
def test_compare_own_text(
    snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker
) -> None:
    use_worker(fakes.answered(), fakes.FOREVER)
    app = PTuneApp("compare", clock=clock)
    prepare = comparing(
        "a",
        *"the lamp broke",
        "enter",
        until=lambda app: app.session.comparison.texts[0].is_answered,
    )
    assert snap_compare(app, terminal_size=size, run_before=prepare)


@both_sizes
def test_chat_without_a_bundle(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(PTuneApp("chat"), terminal_size=size, run_before=shown)


def chat_after(*words: str) -> Prepare:
    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)

        def is_ready() -> bool:
            return pilot.app.screen.state == "ready"  # type: ignore[attr-defined]

        await wait_for(pilot, is_ready)
        for word in words:
            await pilot.press(*word, "enter")
            await wait_for(pilot, is_ready)
        await pilot.pause()

    return prepare


@both_sizes
@pytest.mark.usefixtures("fake_chat")
def test_chat_ready(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    app = PTuneApp(bundle=fakes.write_bundle(tmp_path / "bundle"))
    assert snap_compare(app, terminal_size=size, run_before=chat_after())


@both_sizes
@pytest.mark.usefixtures("fake_chat")
def test_chat_answered(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    app = PTuneApp(bundle=tmp_path)
    assert snap_compare(app, terminal_size=size, run_before=chat_after("lamp", "again"))


@pytest.mark.usefixtures("fake_chat")
def test_chat_stacked_where_narrow(snap_compare: Compare, tmp_path: Path) -> None:
    app = PTuneApp(bundle=tmp_path)
    assert snap_compare(app, terminal_size=(62, 22), run_before=chat_after("lamp"))


def test_help(snap_compare: Compare) -> None:
    assert snap_compare(PTuneApp("train"), press=["f1"])


def test_leaving(snap_compare: Compare, tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.running(), is_held=True)
    assert snap_compare(PTuneApp(attach=run, clock=clock), press=["q"])


def test_too_small(snap_compare: Compare) -> None:
    assert snap_compare(PTuneApp(), terminal_size=(50, 15), run_before=shown)
