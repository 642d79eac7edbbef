"""A picture of every place in its states. New pictures: `pytest tests/tui --snapshot-update`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import Input, Static, TextArea

from ptune_tui.command_line import written_template
from ptune_tui.endings import gone_folder as gone
from ptune_tui.events import TaskFailed
from ptune_tui.kept_tables import add_table
from ptune_tui.lineup import Lineup
from ptune_tui.tasks import CompareTask
from ptune_tui.tui.app import InitialScreen, PTuneApp
from ptune_tui.tui.fitting import FitLine
from ptune_tui.tui.screens import setup
from ptune_tui.tui.screens.choosing import LOOK_SECONDS
from ptune_tui.tui.widgets.exchange import Exchange
from ptune_tui.tui.widgets.field_row import FieldRow
from tests.report.results import evaluation
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.helpers import settled, shown, wait_for
from tests.tui.pictures import (
    Compare,
    Prepare,
    both_sizes,
    chat_after,
    clock,
    comparing,
    exporting,
    page_after,
    runs_after,
    settle,
)


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
        pytest.param((), id="running"),
        pytest.param(("down",), id="failed"),
        pytest.param(("end",), id="killed"),
        pytest.param(("down", "down", "space", "down", "space", "v"), id="compared"),
    ],
)
def test_runs(
    snap_compare: Compare,
    size: tuple[int, int],
    keys: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ptune_tui.runs._clock", lambda: fakes.START + 5 * 3600)
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
        await wait_for(pilot, lambda: session.trials.preview and session.trials.preview.state.made)
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


@both_sizes
def test_setup_with_every_field(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def prepare(pilot: Pilot[None]) -> None:
        await settle(pilot)
        await pilot.press("a")
        await settle(pilot)
        pilot.app.screen.form.rows["training.warmup_steps"].focus_input()  # type: ignore[attr-defined]
        await settle(pilot)

    assert snap_compare(PTuneApp(), terminal_size=size, run_before=prepare)


@both_sizes
def test_setup_that_does_not_fit(
    snap_compare: Compare, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "does not fit: 3.3 GB of 1.0 GB free (cached, 32 x 110 tokens, 1 row at a time)"
    line = FitLine("does not fit", words, "set kernel to stream")
    monkeypatch.setattr(setup, "fit_line", lambda _: line)

    async def prepare(pilot: Pilot[None]) -> None:
        await settle(pilot)
        pilot.app.screen.form.write({"model.kernel": "cached"})  # type: ignore[attr-defined]
        await settle(pilot)

    assert snap_compare(PTuneApp(), terminal_size=size, run_before=prepare)


@both_sizes
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param(("m", "down", "down"), "268 M weights", id="list"),
        pytest.param(("m", "slash", *"none", "enter"), "135 M weights", id="wrong"),
    ],
)
def test_models(
    snap_compare: Compare,
    size: tuple[int, int],
    keys: tuple[str, ...],
    words: str,
    small_machine: None,
) -> None:
    assert snap_compare(PTuneApp(), terminal_size=size, run_before=page_after(*keys, words=words))


@both_sizes
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param(("d", *["down"] * 2), "2 labels", id="a-table"),
        pytest.param(("d", *["down"] * 3), "broken.jsonl:2", id="broken"),
    ],
)
def test_data_sets(
    snap_compare: Compare,
    size: tuple[int, int],
    keys: tuple[str, ...],
    words: str,
    some_data: None,
) -> None:
    assert snap_compare(PTuneApp(), terminal_size=size, run_before=page_after(*keys, words=words))


@both_sizes
@pytest.mark.parametrize("keys", [(), ("slash", "a")], ids=["opened", "written"])
def test_files(
    snap_compare: Compare, size: tuple[int, int], keys: tuple[str, ...], some_data: None
) -> None:
    prepare = page_after("d", "b", *keys, words="2 labels")
    assert snap_compare(PTuneApp(), terminal_size=size, run_before=prepare)


@both_sizes
@pytest.mark.parametrize("text", ["News: {{ text }}\nMood:", "{{ text"], ids=["rendered", "wrong"])
def test_template(
    snap_compare: Compare,
    size: tuple[int, int],
    text: str,
    some_data: None,
    use_worker: UseWorker,
) -> None:
    use_worker(fakes.preview())

    async def prepare(pilot: Pilot[None]) -> None:
        await settle(pilot)
        pilot.app.screen.form.write(  # type: ignore[attr-defined]
            {"data.train": "a.csv", "data.template": written_template("{{ text }}!")}
        )
        await page_after("t")(pilot)
        await pilot.press("f6")
        session = pilot.app.session  # type: ignore[attr-defined]
        await wait_for(pilot, lambda: session.trials.preview and session.trials.preview.state.made)
        area = pilot.app.screen.query_one(TextArea)
        area.text = text
        area.focus()
        await pilot.pause(0.6)
        if text.endswith(":"):
            await pilot.press("f6")
            await wait_for(pilot, lambda: not session.trials.preview.is_active)
        await pilot.pause(0.3)
        await settled(pilot)

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
        PTuneApp(), terminal_size=size, run_before=after_finding("24 of 80", "▸ finding a rate")
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
def test_train_free_text(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.free_text(), is_held=True)

    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await pilot.press("v")

    app = PTuneApp(attach=run, clock=clock)
    assert snap_compare(app, terminal_size=size, run_before=prepare)


@both_sizes
def test_train_paused(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.paused(), is_held=True)
    assert snap_compare(PTuneApp(attach=run, clock=clock), terminal_size=size, run_before=shown)


@both_sizes
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("light", 'theme = "textual-light"'),
        ("contrast", 'theme = "high-contrast-light"'),
        ("blocks", 'theme = "high-contrast-dark"\ncharts = "blocks"'),
    ],
    ids=lambda value: value if value.isalpha() else "",
)
def test_train_in_other_looks(
    snap_compare: Compare,
    size: tuple[int, int],
    tmp_path: Path,
    home: Path,
    name: str,
    text: str,
) -> None:
    home.mkdir()
    (home / "settings.toml").write_text(text)
    run = fakes.write_run(tmp_path / "run", fakes.running(), is_held=True)
    assert snap_compare(PTuneApp(attach=run, clock=clock), terminal_size=size, run_before=shown)


@both_sizes
@pytest.mark.usefixtures("some_runs")
def test_runs_without_colour(
    snap_compare: Compare, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("ptune_tui.runs._clock", lambda: fakes.START + 5 * 3600)
    app = PTuneApp("runs", clock=lambda: fakes.START + 5 * 3600)
    keys = ("down", "down", "space", "down", "space", "v")
    assert snap_compare(app, terminal_size=size, run_before=runs_after(*keys))


@both_sizes
def test_train_scores(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())

    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await pilot.press("v", "v")

    app = PTuneApp(attach=run, clock=clock)
    assert snap_compare(app, terminal_size=size, run_before=prepare)


@both_sizes
def test_help_for_what_has_the_focus(
    snap_compare: Compare, size: tuple[int, int], tmp_path: Path
) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.running(), is_held=True)

    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await pilot.press("tab", "f1")
        await pilot.pause()

    app = PTuneApp(attach=run, clock=clock)
    assert snap_compare(app, terminal_size=size, run_before=prepare)


@both_sizes
def test_train_with_the_reasons_of_its_plan(
    snap_compare: Compare, size: tuple[int, int], tmp_path: Path
) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.running(), is_held=True)

    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await pilot.press("w")

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


@both_sizes
@pytest.mark.usefixtures("home")
def test_train_killed(snap_compare: Compare, size: tuple[int, int]) -> None:
    run = fakes.write_run(Path("run"), fakes.running())
    assert snap_compare(PTuneApp(attach=run, clock=clock), terminal_size=size, run_before=shown)


@both_sizes
@pytest.mark.usefixtures("home")
def test_train_whose_folder_is_gone(
    snap_compare: Compare, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fakes.write_run(Path("run"), fakes.running(), is_held=True)
    monkeypatch.setattr("ptune_tui.tui.followed.gone_folder", lambda folder, _: gone(folder, 4242))

    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        shutil.rmtree(run)
        problem = pilot.app.screen.query_one("#problem")
        await wait_for(pilot, lambda: problem.display)
        await pilot.pause()

    assert snap_compare(PTuneApp(attach=run, clock=clock), terminal_size=size, run_before=prepare)


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


@both_sizes
def test_export_without_a_run(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(PTuneApp("export"), terminal_size=size, run_before=settle)


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
def test_compare_failed_beside_an_earlier_table(
    snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker, compare_run: Path
) -> None:
    add_table(compare_run, replace(evaluation(), made_at=fakes.START - 7200))
    failure = TaskFailed("model", "The model is not here any more.", "Fetch it.", "/home/user/log")
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
@pytest.mark.usefixtures("compare_run")
def test_compare_own_text_answered_freely(
    snap_compare: Compare, size: tuple[int, int], use_worker: UseWorker
) -> None:
    use_worker(fakes.answered_freely(), fakes.FOREVER)
    prepare = comparing(
        "a",
        *"Alimentum",
        "enter",
        until=lambda app: app.session.comparison.texts[0].is_answered,
    )
    assert snap_compare(PTuneApp("compare", clock=clock), terminal_size=size, run_before=prepare)


@both_sizes
def test_chat_without_a_bundle(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(PTuneApp("chat"), terminal_size=size, run_before=shown)


@both_sizes
@pytest.mark.usefixtures("fake_chat", "compare_run")
def test_chat_bundles(
    snap_compare: Compare, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # so that paths read the same in every test
    fakes.write_bundle(tmp_path / "mine")

    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await pilot.press("o")
        await settled(pilot)
        await pilot.pause(LOOK_SECONDS + 0.1)
        await settled(pilot)

    assert snap_compare(PTuneApp("chat"), terminal_size=size, run_before=prepare)


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


@both_sizes
@pytest.mark.usefixtures("fake_chat")
@pytest.mark.parametrize(("word", "state"), [("hang", "waiting"), ("die", "failed")])
def test_chat_in_its_other_states(
    snap_compare: Compare,
    size: tuple[int, int],
    word: str,
    state: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PTUNE_HOME", "home")  # the log's path is shown

    async def prepare(pilot: Pilot[None]) -> None:
        await chat_after()(pilot)
        await pilot.press(*word, "enter")
        screen = pilot.app.screen
        await wait_for(pilot, lambda: screen.state == state)  # type: ignore[attr-defined]
        if state == "waiting":
            await wait_for(pilot, lambda: screen.query_one(Exchange).tuned_text)
        await pilot.pause()

    app = PTuneApp(bundle=fakes.write_bundle(Path("bundle")))
    assert snap_compare(app, terminal_size=size, run_before=prepare)


@pytest.mark.usefixtures("fake_chat")
def test_chat_stacked_where_narrow(snap_compare: Compare, tmp_path: Path) -> None:
    app = PTuneApp(bundle=tmp_path)
    assert snap_compare(app, terminal_size=(62, 22), run_before=chat_after("lamp"))


def test_help(snap_compare: Compare) -> None:
    assert snap_compare(PTuneApp("train"), press=["f1"])


def test_leaving(snap_compare: Compare, tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.running(), is_held=True)
    assert snap_compare(PTuneApp(attach=run, clock=clock), press=["q"])


def test_leaving_several(snap_compare: Compare, tmp_path: Path, use_worker: UseWorker) -> None:
    use_worker(fakes.comparing(), fakes.FOREVER)
    run = fakes.write_run(tmp_path / "run", fakes.running(), is_held=True)
    app = PTuneApp(attach=run, clock=clock)

    async def prepare(pilot: Pilot[None]) -> None:
        await shown(pilot)
        comparison = app.session.comparison
        comparison.start_table(CompareTask(Lineup(run=str(run), keys=("base",)), None, "again"))
        await wait_for(pilot, lambda: app.status_text() == "▸ comparing")
        await pilot.press("q")
        await pilot.pause(0.6)

    assert snap_compare(app, run_before=prepare)


@pytest.mark.parametrize("place", ["runs", "setup", "train", "compare", "export", "chat"])
@pytest.mark.parametrize("size", [(59, 24), (50, 15)], ids=["59x24", "50x15"])
def test_too_small(snap_compare: Compare, place: InitialScreen, size: tuple[int, int]) -> None:
    assert snap_compare(PTuneApp(place), terminal_size=size, run_before=shown)
