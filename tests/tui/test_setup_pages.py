"""The pages of Setup: models, data, files, columns and template; by keyboard and by mouse."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import typer.testing
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static, TextArea

from ptune_tui.cli import train as train_module
from ptune_tui.cli.main import app as command_line
from ptune_tui.config import DataConfig, RunConfig, override
from ptune_tui.default_model import DEFAULT_MODEL
from ptune_tui.events import PreviewMade, TaskFinished
from ptune_tui.tasks import PreviewTask, read_task
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.fields import PROMPT_FIELD, RESPONSE_FIELD, TEMPLATE
from ptune_tui.tui.screens.choosing import ChoosingScreen
from ptune_tui.tui.screens.data_sets import DataSetsScreen
from ptune_tui.tui.screens.files import FilesScreen
from ptune_tui.tui.screens.models import ModelsScreen
from ptune_tui.tui.screens.setup import SetupScreen
from ptune_tui.tui.screens.template import PLAIN, TemplateScreen
from ptune_tui.tui.widgets.field_row import Choice, ChooseButton, FieldRow
from ptune_tui.tui.widgets.field_section import SectionTitle
from tests.tui import fakes
from tests.tui.conftest import UseWorker
from tests.tui.helpers import opened, wait_for

NARROW, WIDE = (80, 24), (120, 40)
SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])


@pytest.fixture
def model_is_here(home: Path) -> None:
    """The default model's file, as far as looking for it goes."""
    DEFAULT_MODEL.path.parent.mkdir(parents=True)
    DEFAULT_MODEL.path.write_bytes(b"GGUF")


def setup_of(app: PTuneApp) -> SetupScreen:
    screen = app.screen
    assert isinstance(screen, SetupScreen)
    return screen


async def page(pilot: Pilot[None], kind: type[ChoosingScreen]) -> ChoosingScreen:
    """A page, once its list is filled."""
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, kind))
    screen = pilot.app.screen
    assert isinstance(screen, ChoosingScreen)
    await wait_for(pilot, lambda: screen.query("#choices") and screen.highlighted)
    await pilot.pause()
    return screen


def details(screen: ChoosingScreen) -> str:
    return str(screen.query_one("#choice-text", Static).render())


@SIZES
async def test_model_is_chosen_from_the_catalogue(size: tuple[int, int]) -> None:
    app = PTuneApp()
    async with opened(app, size=size) as pilot:
        await pilot.press("m")
        models = await page(pilot, ModelsScreen)
        wanted = "Qwen/Qwen2.5-0.5B-Instruct"
        assert models.highlighted == "default"
        while models.highlighted != wanted:
            await pilot.press("down")
        await wait_for(pilot, lambda: "494 M weights" in details(models))
        assert "Licence: Apache-2.0." in details(models)
        assert "fits:" in details(models)
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        await pilot.pause()
        assert setup_of(app).form.rows["model.source"].text == wanted
        assert setup_of(app).config == override(RunConfig(), {"model.source": wanted})


async def test_model_is_written_and_a_wrong_one_is_told() -> None:
    app = PTuneApp()
    async with opened(app, size=NARROW) as pilot:
        setup_of(app).form.rows["model.source"].focus_input()
        await pilot.press("enter")
        models = await page(pilot, ModelsScreen)
        await pilot.press("slash", *"./none", "enter")
        problem = str(models.query_one("#written-problem", Static).render())
        assert problem == "✗ There is no model `./none`: a folder, a GGUF file or a hub id."
        models.query_one("#written", Input).value = "owner/name"
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        assert setup_of(app).form.rows["model.source"].text == "owner/name"


async def test_model_file_is_found_in_the_browser(tmp_path: Path) -> None:
    (tmp_path / "shelf").mkdir()
    for name in ("mine.gguf", "other.gguf"):  # of one alone the folder itself would be taken
        (tmp_path / "shelf" / name).write_bytes(b"GGUF")
    (tmp_path / "shelf" / "notes.txt").write_text("")
    app = PTuneApp()
    async with opened(app, size=NARROW) as pilot:
        await pilot.press("m")
        await page(pilot, ModelsScreen)
        await pilot.press("b")
        files = await page(pilot, FilesScreen)
        while files.highlighted != str(tmp_path / "shelf"):
            await pilot.press("down")
        await pilot.press("enter")
        await wait_for(pilot, lambda: files.highlighted == str(tmp_path / "shelf" / "mine.gguf"))
        assert files.query_one("#choices", OptionList).option_count == 3
        await pilot.press("u")
        await wait_for(pilot, lambda: files.highlighted == str(tmp_path / "shelf"))
        await pilot.press("t")
        problem = files.query_one("#written-problem", Static)
        assert "is not a model" in str(problem.render())
        await pilot.press("slash")
        files.query_one("#written", Input).value = str(tmp_path / "shelf" / "mine.gguf")
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        text = setup_of(app).form.rows["model.source"].text
        assert text == str(tmp_path / "shelf" / "mine.gguf")


@pytest.mark.parametrize("text", ["~no-such-user/x", "x" * 300], ids=["no user", "too long"])
@pytest.mark.parametrize("is_taken", [False, True])
async def test_text_that_can_be_no_path_is_told_in_the_browser(text: str, is_taken: bool) -> None:
    app = PTuneApp()
    async with opened(app, size=NARROW) as pilot:
        await pilot.press("d")
        await page(pilot, DataSetsScreen)
        await pilot.press("b")
        files = await page(pilot, FilesScreen)
        await pilot.press("slash")
        files.query_one("#written", Input).value = text
        await pilot.pause()
        (files.action_take if is_taken else files.action_open)()
        assert str(files.query_one("#written-problem", Static).render()).startswith("✗ Th")


async def test_template_begins_with_that_of_the_same_data_only(
    use_worker: UseWorker, model_is_here: None
) -> None:
    made = PreviewMade([], template="Mine: {prompt}")
    use_worker([made, TaskFinished(0.1)])
    app = PTuneApp()
    async with opened(app, size=NARROW) as pilot:
        app.session.trials.start_preview(RunConfig().model, RunConfig().data)
        await wait_for(
            pilot, lambda: app.session.trials.preview and app.session.trials.preview.state.made
        )
        for data, text in (("home_commands", PLAIN), ("support_inbox", "Mine: {prompt}")):
            known = DataConfig(train=data)
            texts = dict.fromkeys((TEMPLATE, PROMPT_FIELD, RESPONSE_FIELD), "")
            screen = TemplateScreen(RunConfig().model, known, texts, lambda _: None)
            with app._context():
                assert screen._used_template() == text


@pytest.mark.parametrize("key", ["escape"])
async def test_pages_that_are_left_change_nothing(key: str, tmp_path: Path) -> None:
    app = PTuneApp()
    async with opened(app, size=NARROW) as pilot:
        before = dict(setup_of(app).form.texts)
        await pilot.press("d")
        await page(pilot, DataSetsScreen)
        await pilot.press("down", "b")
        await page(pilot, FilesScreen)
        await pilot.press(key)
        await page(pilot, DataSetsScreen)
        await pilot.press(key)
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        await pilot.press("t")
        await wait_for(pilot, lambda: isinstance(app.screen, TemplateScreen))
        app.screen.query_one("#template-kind", Choice).value = "the model's chat template"
        await pilot.press(key)
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        assert setup_of(app).form.texts == before


@SIZES
async def test_data_is_chosen_and_looked_at(size: tuple[int, int], tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "label": "yes" if n % 2 else "no"} for n in range(12)]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = PTuneApp()
    async with opened(app, size=size) as pilot:
        await pilot.press("d")
        sets = await page(pilot, DataSetsScreen)
        await wait_for(pilot, lambda: "540 rows; `prompt` -> `response`" in details(sets))
        while sets.highlighted != "answers.jsonl":
            await pilot.press("down")
        await wait_for(pilot, lambda: "12 rows; `question` -> `label`" in details(sets))
        assert "2 labels: no 6, yes 6" in details(sets)
        assert "question: q0" in details(sets)
        option = sets.query_one("#choices", OptionList)
        await pilot.press("enter")
        assert option is not None
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        command = str(app.screen.query_one("#command", Static).render())
        await wait_for(pilot, lambda: setup_of(app).config is not None)
        await pilot.pause()
        command = str(app.screen.query_one("#command", Static).render())
        assert command == "y copies  $ ptune train --data answers.jsonl"


async def test_validation_data_is_chosen_by_mouse(tmp_path: Path) -> None:
    path = tmp_path / "held.csv"
    path.write_text("prompt,response\na,b\n")
    app = PTuneApp()
    async with opened(app, size=WIDE) as pilot:
        row = setup_of(app).form.rows["data.validation"]
        await pilot.click(row.query_one(ChooseButton))
        sets = await page(pilot, DataSetsScreen)
        options = sets.query_one("#choices", OptionList)
        assert [option.id for option in options.options if option.id] == ["held.csv"]
        await pilot.click(options, offset=(4, 1))
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        assert row.text == "held.csv"


@SIZES
async def test_template_is_rendered_as_it_is_written(
    size: tuple[int, int], use_worker: UseWorker, tmp_path: Path, model_is_here: None
) -> None:
    use_worker(fakes.preview())
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"title": "a", "body": "b", "topic": "c"}) + "\n")
    app = PTuneApp()
    async with opened(app, size=size) as pilot:
        setup_of(app).form.write({"data.train": "rows.jsonl"})
        await pilot.pause()
        await pilot.press("t")
        await wait_for(pilot, lambda: isinstance(app.screen, TemplateScreen))
        screen = app.screen
        columns = screen.query_one("#template-columns", Static)
        await wait_for(pilot, lambda: "{{ title }} {{ body }} {{ topic }}" in str(columns.render()))
        assert "choose the columns" in str(columns.render())
        screen.query_one("#choose-data-response-field", Choice).value = "topic"
        screen.query_one("#template-kind", Choice).value = "written below"
        area = screen.query_one("#template-text", TextArea)
        await wait_for(pilot, lambda: area.text)
        area.focus()
        area.text = "{{ title"
        problem = screen.query_one("#template-problem", Static)
        await wait_for(pilot, lambda: "not valid Jinja" in str(problem.render()))
        assert screen.check_action("take", ()) is None
        area.text = "News: {{ title }} - {{ body }}\nTopic:"

        def asked() -> PreviewTask | None:
            preview = app.session.trials.preview
            task = read_task(preview.job.folder) if preview else None
            return task if isinstance(task, PreviewTask) else None

        await wait_for(pilot, lambda: asked() and asked().data.response_field)  # type: ignore[union-attr]
        task = asked()
        assert task is not None
        assert task.data.template == "News: {{ title }} - {{ body }}\nTopic:"
        text = screen.query_one(".preview-text", Static)
        await wait_for(pilot, lambda: "[returns|<|im_end|>]" in str(text.render()))
        assert "(7 tokens, 2 in the loss) The| lamp| broke|.|↵[returns" in str(text.render())
        await pilot.press("f5")
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        await pilot.pause()
        texts = setup_of(app).form.texts
        assert texts["data.template"] == r"News: {{ title }} - {{ body }}\nTopic:"
        assert texts["data.response_field"] == "topic"
        shown = setup_of(app).form.rows["data.response_field"]
        assert shown.is_attached  # of those folded away the changed ones are seen


async def test_copied_command_makes_the_same_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[object] = []
    monkeypatch.setattr(train_module, "_train", lambda _, task, __: made.append(task.config))
    copied: list[str] = []
    monkeypatch.setattr(PTuneApp, "copy_to_clipboard", lambda _, text: copied.append(text))
    app = PTuneApp()
    async with opened(app, size=NARROW) as pilot:
        texts = {
            "data.template": r"It's: {{ prompt | replace('\\n', ' ') }}\nTeam:",
            "method.name": "prefix",
            "method.reparametrise": "on",
            "method.init_text": "two words",
            "training.learning_rate": "1e-05",
            "training.checkpointing": "on",
            "model.device": "cpu",
        }
        setup_of(app).form.write(texts)
        await pilot.pause()
        config = setup_of(app).config
        await pilot.press("y")
        await pilot.click("#command")
        await wait_for(pilot, lambda: len(copied) == 2)
    assert copied[0] == copied[1]
    assert config is not None
    assert config.data.template == "It's: {{ prompt | replace('\\n', ' ') }}\nTeam:"
    arguments = [*shlex.split(copied[0])[1:], "--out", str(tmp_path / "run")]
    done = typer.testing.CliRunner().invoke(command_line, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert made == [config]


@pytest.mark.usefixtures("some_data")
async def test_what_is_written_is_not_described_by_the_entry_under_the_cursor() -> None:
    app = PTuneApp()
    async with opened(app, size=NARROW) as pilot:
        await pilot.press("d")
        await wait_for(pilot, lambda: app.screen.query("#choice-text"))
        details = app.screen.query_one("#choice-text", Static)
        await wait_for(pilot, lambda: "labels" in str(details.render()))
        await pilot.press("slash", *"nosuch.jsonl", "enter")
        problem = app.screen.query_one("#written-problem", Static)
        await wait_for(pilot, lambda: problem.display)
        await pilot.pause(0.5)
        assert str(details.render()) == "Enter takes what is written."
        await pilot.press("down")
        await wait_for(pilot, lambda: "labels" in str(details.render()))


async def test_a_long_path_shows_its_end() -> None:
    app = PTuneApp()
    async with opened(app, size=NARROW) as pilot:
        path = f"/home/user/{'folder/' * 12}rows.jsonl"
        setup_of(app).form.write({"data.train": path})
        await pilot.pause()
        line = setup_of(app).form.rows["data.train"].query_one(Input)
        text = line.render_line(0).text
        assert text.startswith("…")
        assert text.rstrip().endswith("folder/rows.jsonl")
        assert len(text) == line.size.width
        line.focus()
        await pilot.pause()
        assert "…" not in line.render_line(0).text


async def test_every_field_can_be_shown_and_folded_away() -> None:
    app = PTuneApp()
    async with opened(app, size=NARROW) as pilot:
        form = setup_of(app).form
        first = {name for name, row in form.rows.items() if row.is_attached}
        assert "training.warmup_steps" not in first
        await pilot.press("a")
        await pilot.pause()
        shown = {name for name, row in form.rows.items() if row.is_attached and row.display}
        meaningless = {"method.init_prompt", "method.rank", "method.mlp_size"}
        assert form.rows.keys() - shown == {*meaningless, "method.reparametrise"}
        order = [row.field.name for row in app.screen.query(FieldRow)]
        assert order == [name for name in form.rows if name in shown]
        form.rows["training.warmup_steps"].text = "5"
        await pilot.press("a")
        await pilot.pause()
        now = {name for name, row in form.rows.items() if row.is_attached and row.display}
        assert now == first | {"training.warmup_steps"}
        title = app.screen.query_one("#title-data", SectionTitle)
        assert str(title.render()).strip() == "data  ▸ 4 more"
        title.focus()
        await pilot.press("enter")
        await pilot.pause()
        assert form.rows["data.max_tokens"].display
        await pilot.click(title)
        await pilot.pause()
        assert not form.rows["data.max_tokens"].display
