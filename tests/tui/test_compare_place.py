"""The place Compare: its form, its parts, its keys, its endings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Button, DataTable, Input, Static

from ptune_tui.evaluation.answered import flips_between
from ptune_tui.events import AskText, TaskFailed, TaskFinished, decode_command
from ptune_tui.kept_tables import add_table
from ptune_tui.lineup import Lineup
from ptune_tui.results import Evaluation, write_result
from ptune_tui.tasks import COMMANDS_FILE, AnswerTask, CompareTask, read_task
from ptune_tui.tui import compare_choice
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.opened_run import read_run
from ptune_tui.tui.screens.compare import CompareScreen
from ptune_tui.tui.screens.export import ExportScreen
from ptune_tui.tui.screens.questions import LeaveScreen
from ptune_tui.tui.session import Session
from ptune_tui.tui.widgets import compare_form, flip_view
from ptune_tui.tui.widgets.compare_form import CompareForm
from ptune_tui.tui.widgets.compare_panel import ComparePanel
from ptune_tui.tui.widgets.field_row import FieldRow, row_id
from ptune_tui.tui.widgets.line_choice import LineChoice
from ptune_tui.tui.widgets.run_panels import Problem
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.widgets.view_bar import ViewBar
from tests.report.results import evaluation
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.helpers import opened, settled, wait_for

LABELS = '{"labels": ["account", "billing", "returns"]}'


@pytest.fixture
def run(home: Path) -> Path:
    """A run that has ended, with labels and a bundle."""
    folder = fakes.write_run(home / "runs" / "one", fakes.finished())
    (folder / "adapter" / "prompt.json").write_text(LABELS)
    fakes.write_bundle(folder / "bundle")
    return folder


def table(made_at: float, num_rows: int = 872) -> Evaluation:
    return msgspec.structs.replace(
        evaluation(),
        made_at=made_at,
        num_rows=num_rows,
        flips_from="base, zero-shot",
        flips_to="tuned prompt",
    )


async def ready(pilot: Pilot[None]) -> CompareScreen:
    screen = pilot.app.screen
    assert isinstance(screen, CompareScreen)
    await wait_for(pilot, lambda: screen.check_action("start", ()))
    await settled(pilot)
    return screen


def row(screen: CompareScreen, name: str) -> FieldRow:
    return screen.query_one(f"#{row_id(name)}", FieldRow)


def written(screen: CompareScreen, widget: str) -> str:
    return str(screen.query_one(widget, Steady).render())


async def test_form_makes_the_task_of_a_table(run: Path, use_worker: UseWorker) -> None:
    use_worker(fakes.comparing(), fakes.FOREVER)
    app = PTuneApp("compare")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        assert screen.shown_view == "choose"
        assert screen.focused is screen.query_one("#compare-start")
        lines = screen.query_one(LineChoice)
        assert lines.ticked == {"base", "instruction", "few_shot", "tuned", "fast"}
        await pilot.click("#tick-few_shot")
        assert "+ 4 min 30 s of training" in written(screen, "#lora-note")
        await pilot.click("#tick-lora")
        screen.query_one("#tick-exact").focus()
        await pilot.press("space")
        row(screen, "prompt").text = "commands"
        row(screen, "rows").text = "30"
        await settled(pilot)
        assert "--precision fast" in written(screen, "#compare-command")
        await pilot.press("f5")
        comparison = app.session.comparison
        assert comparison.table is not None
        task = read_task(comparison.table.job.folder)
        assert isinstance(task, CompareTask)
        assert task.lineup == Lineup(
            run=str(run),
            bundle=str(run / "bundle"),
            prompt="commands",
            precisions=("fast", "exact"),
            keys=("base", "instruction", "tuned", "lora"),
        )
        assert (task.data, task.max_rows) == (None, 30)
        assert screen.shown_view == "table"
        await wait_for(pilot, lambda: "80.3 %" in written(screen, "#table-text"))
        assert app.status_text() == "▸ comparing"
        assert screen.check_action("start", ()) is None
        await pilot.press("q")
        await wait_for(pilot, lambda: isinstance(app.screen, LeaveScreen))
        assert not app.screen.query("#save")
        await pilot.press("escape", "s")
        await wait_for(pilot, lambda: not comparison.is_making_table)
        await wait_for(pilot, lambda: "stopped; no table" in written(screen, "#table-text"))
        assert not screen.query_one(Problem).display


async def test_a_table_that_is_made_is_shown_in_all_its_parts(
    run: Path, use_worker: UseWorker, tmp_path: Path
) -> None:
    made = tmp_path / "made.json"
    write_result(made, table(fakes.START))
    keeping = (
        f"import shutil\nfor place in (folder, pathlib.Path({str(run)!r})):\n"
        f"    shutil.copy({str(made)!r}, place / 'evaluation.json')\n"
        'say(b\'{"type":"TaskFinished","seconds":1.0}\\n\')\n'
    )
    use_worker(fakes.comparing(), keeping)
    app = PTuneApp("compare", clock=lambda: fakes.START)
    async with opened(app, size=(120, 40)) as pilot:
        screen = await ready(pilot)
        assert "No table yet" in written(screen, "#table-text")
        assert screen.check_action("copy", ()) is None
        await pilot.press("f5")
        panel = screen.query_one(ComparePanel)
        await wait_for(pilot, lambda: panel.evaluation)
        await settled(pilot)
        assert "tuned prompt" in written(screen, "#table-text")
        await pilot.press("y")
        assert "| tuned prompt | 90.1 (88.0-92.0) |" in app.clipboard
        await pilot.press("v")
        assert screen.shown_view == "rows"
        flips = screen.query_one("#flips", DataTable)
        assert flips.row_count == 71
        assert "listed" not in written(screen, "#flip-counts")
        await pilot.press("w")
        assert flips.row_count == len([flip for flip in table(0).flips if flip.is_gain])
        await pilot.press("down")
        await pilot.pause()
        shown = written(screen, "#flip-text")
        assert "became right" in shown
        assert all(f"{line.title}: " in shown for line in table(0).contenders)
        await pilot.press("w", "w", "w")
        assert flips.row_count == len(table(0).answered)  # every row, flipped or not
        await pilot.press("down")
        await pilot.pause()
        assert "is answered the same" in written(screen, "#flip-text")
        await pilot.press("home", "w", "l")  # from the next line, the instruction
        await pilot.pause()
        assert "→ tuned prompt" in written(screen, "#flip-counts")
        instruction = table(0).contenders[1].title
        assert flips.row_count == len(flips_between(table(0), instruction, "tuned prompt")) > 0
        await pilot.press("y")
        assert app.clipboard == written(screen, "#flip-text")
        await pilot.press("v", "y")
        tuned = next(line for line in table(0).contenders if line.title == "tuned prompt")
        counts = [[int(word) for word in line.split("|")[2:-1]] for line in last_lines(app, 2)]
        assert counts == tuned.confusion
        assert screen.query_one("#matrix", DataTable).row_count == 2
        assert "answered" in written(screen, "#confused")
        await pilot.press("v")
        of_tuned = written(screen, "#classes-text")
        assert "F1 of base, zero-shot" in of_tuned
        await pilot.press("l")
        await pilot.pause()
        assert written(screen, "#classes-text") != of_tuned
        await pilot.press("v")
        assert "calibration error" in written(screen, "#calibration-text")
        await pilot.press("y")
        assert "calibration error" in app.clipboard
        await pilot.press("v", "v")
        assert screen.shown_view == "table"
        await pilot.click("#view-bar", offset=(54, 0))
        assert screen.shown_view == "text"


@pytest.mark.parametrize("width", [72, 100, 120])
async def test_every_part_is_named_at_every_width(run: Path, width: int) -> None:
    app = PTuneApp("compare")
    async with opened(app, size=(width, 30)) as pilot:
        await wait_for(pilot, lambda: app.screen.check_action("start", ()))
        bar = app.screen.query_one(ViewBar)
        await wait_for(pilot, lambda: "calibration" in bar.plain)
        assert cell_len(bar.plain) <= bar.content_size.width


async def test_stored_tables_of_a_run_open_at_once_and_one_after_the_other(run: Path) -> None:
    add_table(run, table(fakes.START - 7200, 100))
    add_table(run, table(fakes.START - 60, 200))
    write_result(run / "evaluation.json", table(fakes.START - 7200, 100))
    app = PTuneApp("compare", clock=lambda: fakes.START)
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        assert screen.shown_view == "table"
        assert "200 rows" in written(screen, "#table-text")
        await pilot.press("e")
        await pilot.pause()
        assert "100 rows" in written(screen, "#table-text")
        await pilot.press("e")
        await pilot.pause()
        assert "200 rows" in written(screen, "#table-text")


async def test_another_run_brings_its_own_tables_and_the_form_stays_open(
    home: Path, run: Path
) -> None:
    add_table(run, table(fakes.START - 60, 200))
    other = fakes.write_run(home / "runs" / "two", fakes.finished())
    add_table(other, table(fakes.START - 7200, 100))
    app = PTuneApp("compare", attach=run, clock=lambda: fakes.START)
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        await pilot.press("v", "v", "v", "v", "v")
        assert screen.shown_view == "choose"
        row(screen, "of").text = "run two"
        await settled(pilot)
        assert screen.shown_view == "choose"
        await pilot.press("v", "v")
        assert "100 rows" in written(screen, "#table-text")
        words = screen.query_one("#shown-table SelectCurrent #label", Static)
        assert str(words.render()).startswith("2 h ago")


async def test_own_texts_are_asked_of_one_worker(run: Path, use_worker: UseWorker) -> None:
    use_worker([*fakes.answered(1), *fakes.answered(2)[3:]], fakes.FOREVER)
    app = PTuneApp("compare")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        await pilot.press("a", *"lamp", "enter")
        comparison = app.session.comparison
        await wait_for(pilot, lambda: "97 %" in written(screen, "#answers"))
        assert comparison.answers is not None
        folder = comparison.answers.job.folder
        task = read_task(folder)
        assert isinstance(task, AnswerTask)
        assert task.lineup == screen.query_one(CompareForm).lineup
        assert screen.query_one("#compare-ask", Input).value == ""
        await pilot.press("escape", "y")
        assert "> lamp\n base (zero-shot)" in app.clipboard
        await pilot.press("a", "b", "enter")
        sent = [decode_command(line) for line in (folder / COMMANDS_FILE).read_bytes().splitlines()]
        assert sent == [AskText(1, "lamp"), AskText(2, "b")]
        job = comparison.answers.job
        await pilot.press("f7")
        await wait_for(pilot, lambda: not job.is_alive())
        # Another lineup is another worker.
        await pilot.press("escape", "v", "v", "v", "v", "v", "v")
        await pilot.click("#tick-base")
        await pilot.press("f8")
        assert app.focused is screen.query_one("#answers-box")
        await pilot.press("a", *"c", "enter")
        await wait_for(pilot, lambda: comparison.answers and comparison.answers.job is not job)
        assert screen.shown_view == "text"


async def test_a_comparison_that_fails_says_why(run: Path, use_worker: UseWorker) -> None:
    use_worker([TaskFailed("model", "The weights are others.", "Take that model.", "/log")])
    app = PTuneApp("compare")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        await pilot.press("f5")
        problem = screen.query_one(Problem)
        await wait_for(pilot, lambda: problem.display)
        assert "The weights are others." in str(problem.render())
        assert screen.check_action("start", ()) is True


@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "failed"])
async def test_an_earlier_table_is_told_from_the_one_that_was_not_made(
    run: Path, use_worker: UseWorker, is_stopped: bool
) -> None:
    add_table(run, table(fakes.START - 7200, 100))
    failure = TaskFailed("model", "The weights are others.", "Take that model.", "/log")
    use_worker(fakes.comparing() if is_stopped else [failure], fakes.FOREVER * is_stopped)
    app = PTuneApp("compare", clock=lambda: fakes.START)
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        line = screen.query_one("#earlier-table", Steady)
        assert not line.display
        await pilot.press("f5")
        if is_stopped:
            await wait_for(pilot, lambda: "80.3 %" in written(screen, "#table-text"))
            assert not line.display
            await pilot.press("s")
        await wait_for(pilot, lambda: line.display)
        what = "□ The last comparison was stopped" if is_stopped else "✗ The last comparison failed"
        assert line.plain == f"{what} and made no table; this is an earlier table."
        assert "100 rows" in written(screen, "#table-text")
        await pilot.press("v")  # the rows that flipped are of that table, too
        assert line.display


async def test_a_folder_of_mine_and_a_wrong_one(home: Path, run: Path, tmp_path: Path) -> None:
    bundle = fakes.write_bundle(tmp_path / "elsewhere")
    app = PTuneApp("compare")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        row(screen, "of").text = "a folder of mine"
        await settled(pilot)
        assert row(screen, "folder").has_class("-wrong")
        assert screen.check_action("start", ()) is None
        row(screen, "folder").text = str(bundle)
        await settled(pilot)
        assert screen.query_one(LineChoice).ticked == {"base", "instruction", "fast"}
        row(screen, "data").text = "support_inbox"
        await settled(pilot)
        await wait_for(pilot, lambda: screen.check_action("start", ()))
        command = written(screen, "#compare-command")
        assert f"ptune eval {bundle} --data support_inbox" in command


async def test_what_lies_on_the_disk_is_read_once_and_beside_the_event_loop(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[threading.Thread] = []

    def noted(read: Callable[[Path], object]) -> Callable[[Path], object]:
        def noting(folder: Path) -> object:
            readers.append(threading.current_thread())
            return read(folder)

        return noting

    app = PTuneApp("compare")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        monkeypatch.setattr(compare_choice, "read_card", noted(compare_choice.read_card))
        monkeypatch.setattr(compare_form, "subject_of", noted(compare_form.subject_of))
        row(screen, "rows").text = "3"
        await settled(pilot)
        assert len(readers) == 1
        row(screen, "of").text = "a folder of mine"
        row(screen, "folder").text = str(run)
        await wait_for(pilot, lambda: screen.check_action("start", ()))
        assert threading.main_thread() not in readers


async def test_a_bundle_that_the_app_was_opened_with_is_compared_first(
    run: Path, use_worker: UseWorker, tmp_path: Path
) -> None:
    use_worker([TaskFinished(1.0)])  # a worker that made nothing
    bundle = fakes.write_bundle(tmp_path / "elsewhere")
    app = PTuneApp("compare", bundle=bundle)
    async with opened(app, size=(80, 24)) as pilot:
        screen = app.screen
        assert isinstance(screen, CompareScreen)
        await wait_for(pilot, lambda: screen.query_one(CompareForm).subject)
        assert row(screen, "of").text == "bundle elsewhere"
        assert screen.query_one("#compare-start", Button).label.plain == "Compare"


def last_lines(app: PTuneApp, number: int) -> list[str]:
    return app.clipboard.splitlines()[-number:]


@pytest.mark.usefixtures("run")
async def test_a_text_is_kept_while_another_is_answered(use_worker: UseWorker) -> None:
    use_worker(fakes.answered()[:5], fakes.FOREVER)
    app = PTuneApp("compare")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        await pilot.press("a", *"one", "enter")
        await wait_for(pilot, lambda: app.session.comparison.is_answering)
        await pilot.press(*"two", "enter")
        assert screen.query_one("#compare-ask", Input).value == "two"
        assert [asked.text for asked in app.session.comparison.texts] == ["one"]
        assert "Still answering" in [note.message for note in app._notifications][-1]


@pytest.mark.usefixtures("run")
async def test_a_text_that_could_not_be_answered_is_given_back(use_worker: UseWorker) -> None:
    use_worker([TaskFailed("model", "The weights are others.", "Take that model.", "/log")])
    app = PTuneApp("compare")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        await pilot.press("a", *"lamp", "enter")
        ask = screen.query_one("#compare-ask", Input)
        problem = screen.query_one(Problem)
        await wait_for(pilot, lambda: problem.display and ask.value == "lamp")
        problem.focus()
        await pilot.press("y")
        assert app.clipboard == "The weights are others.\nTake that model.\nlog: /log"


async def test_compare_and_export_follow_the_run_that_is_shown(home: Path, run: Path) -> None:
    other = fakes.write_run(home / "runs" / "two", fakes.finished())
    app = PTuneApp("compare", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        assert row(screen, "of").text == "run one"
        await pilot.press("5")
        await settled(pilot)
        export = app.screen
        assert isinstance(export, ExportScreen)
        assert export.query_one("#field-run", FieldRow).text == "one"
        app.session.show_run(read_run(other))
        await pilot.press("f4")
        await settled(pilot)
        assert row(screen, "of").text == "run two"
        await pilot.press("5")
        await settled(pilot)
        assert export.query_one("#field-run", FieldRow).text == "two"
        # What was chosen here since stays while the same run is shown.
        export.query_one("#field-run", FieldRow).text = "one"
        row(screen, "of").text = "run one"
        await settled(pilot)
        await pilot.press("f4")
        await settled(pilot)
        assert row(screen, "of").text == "run one"
        await pilot.press("5")
        await settled(pilot)
        assert export.query_one("#field-run", FieldRow).text == "one"


async def test_a_table_that_an_earlier_app_began_is_shown_and_stopped(
    run: Path, use_worker: UseWorker
) -> None:
    fakes.write_run(run.parent / "two", [*fakes.finished()])
    use_worker(fakes.comparing(num_done=1), fakes.FOREVER)
    lineup = Lineup(run=str(run.parent / "two"))
    Session().comparison.start_table(CompareTask(lineup, None, "ptune eval two"))
    app = PTuneApp("compare")
    async with opened(app, size=(80, 24)) as pilot:
        screen = app.screen
        assert isinstance(screen, CompareScreen)
        await wait_for(pilot, lambda: "▸ instruction" in written(screen, "#table-text"))
        assert screen.query_one("#table-text").region.height  # not behind the form
        assert app.status_text() == "▸ comparing"
        assert screen.form.subject is not None
        assert screen.form.subject.word == "run two"
        assert screen.check_action("start", ()) is None
        screen.action_stop()
        await wait_for(pilot, lambda: screen.check_action("start", ()))


async def test_flips_that_are_not_listed_are_said(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flip_view, "MAX_ROWS", 70)  # of 71
    add_table(run, table(0))
    app = PTuneApp("compare")
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        await wait_for(pilot, lambda: screen.shown_table() is not None)
        screen.action_show_view("rows")
        flips = screen.query_one("#flips", DataTable)
        await wait_for(pilot, lambda: flips.row_count == 70)
        assert "flipped 71" in written(screen, "#flip-counts")
        assert "the first 70 are listed" in written(screen, "#flip-counts")
        screen.action_show_flips("won")
        await settled(pilot)
        assert "listed" not in written(screen, "#flip-counts")


def free_text_table(made_at: float) -> Evaluation:
    """As `table`, of answers that are no labels: no line has scores of classes."""
    made = table(made_at)
    lines = [
        msgspec.structs.replace(line, class_scores=[], confusion=[], calibration=[])
        for line in made.contenders
    ]
    return msgspec.structs.replace(made, labels=None, contenders=lines, flips=[])


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
async def test_free_text_is_not_offered_the_parts_of_labels(
    run: Path, size: tuple[int, int]
) -> None:
    add_table(run, free_text_table(fakes.START - 60))
    add_table(run, table(fakes.START - 7200))
    app = PTuneApp("compare", clock=lambda: fakes.START)
    async with opened(app, size=size) as pilot:
        screen = await ready(pilot)
        assert "confusion" not in screen.query_one(ViewBar).plain
        await pilot.press("v")
        assert screen.shown_view == "rows"
        await pilot.press("v")
        assert screen.shown_view == screen.views[0]
        for view in ("confusion", "classes", "calibration"):  # by an old link
            screen.action_show_view(view)
            assert screen.shown_view == "table"
            assert screen.copied()[1] == "the table as Markdown"
        await pilot.press("e")  # to the table of labels
        await settled(pilot)
        screen.action_show_view("confusion")
        assert screen.shown_view == "confusion"
        await pilot.press("e")  # while the part of labels is shown
        await settled(pilot)
        assert screen.shown_view == "table"
        assert screen.focused is None or screen.focused.display


async def test_parts_without_rows_or_without_a_table_say_so(run: Path) -> None:
    app = PTuneApp("compare", clock=lambda: fakes.START)
    async with opened(app, size=(80, 24)) as pilot:
        screen = await ready(pilot)
        assert screen.check_action("next_table", ()) is None
        for view in ("rows", "confusion", "classes", "calibration"):
            screen.action_show_view(view)
            await pilot.pause()
            assert screen.shown_view == view
            assert "No table yet." in written(screen, "#table-text")
            assert screen.query_one("#table-text").region.height
            assert screen.copied() == ("", "")
        add_table(run, free_text_table(fakes.START - 60))
        await pilot.press("5", "f4")  # it is read again
        await settled(pilot)
        screen.action_show_view("rows")
        await pilot.pause()
        assert not screen.query_one("#flips", DataTable).show_header
        words = "No row flipped: base, zero-shot and tuned prompt are right and wrong in the same"
        assert words in written(screen, "#no-flips")
        await pilot.press("w")
        assert written(screen, "#no-flips") == "No row became right."
        assert screen.check_action("next_table", ()) is None
        assert "earlier table" not in screen.hint()
        add_table(run, table(fakes.START - 30))
        await pilot.press("5", "f4")
        await settled(pilot)
        assert screen.check_action("next_table", ()) is True
        assert not screen.query_one("#no-flips").display
        screen.action_show_view("table")
        assert "earlier table" in screen.hint()


@pytest.mark.parametrize("width", [80, 120])
async def test_a_long_name_of_a_run_is_shown_whole(home: Path, width: int) -> None:
    name = "20261126-031415-smollm2-135m-instruct-train"  # as Setup names runs
    fakes.write_run(home / "runs" / name, fakes.finished())
    app = PTuneApp("compare")
    async with opened(app, size=(width, 24)) as pilot:
        screen = await ready(pilot)
        label = row(screen, "of").query_one("SelectCurrent #label", Static)
        lines = [label.render_line(y).text for y in range(label.size.height)]
        assert "".join("".join(lines).split()) == f"run{name}"
        assert label.region.bottom <= row(screen, "bundle").region.y
