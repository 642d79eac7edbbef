"""Paths are completed as a shell completes them, in the browser and in every field of a path."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from ptune_tui.tui import folder_entries
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.fields import DATA
from ptune_tui.tui.folder_entries import entries_of
from ptune_tui.tui.path_completion import OFFERED, complete, is_data_file, listed
from ptune_tui.tui.screens.data_sets import DataSetsScreen
from ptune_tui.tui.screens.files import FilesScreen
from ptune_tui.tui.screens.setup import SetupScreen
from ptune_tui.tui.widgets.field_row import FieldRow
from ptune_tui.tui.widgets.path_input import PathInput
from tests.tui.helpers import opened, wait_for


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    for name in ("rows-test.csv", "rows-train.csv", "notes.md", ".kept.csv", "rome/one.csv"):
        path = tmp_path / "shelf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("prompt,response\na,b\n")
    return tmp_path / "shelf"


def anything(_: Path) -> bool:
    return True


@pytest.mark.parametrize("written", ["shelf/r", "shelf/rows-", "shelf/n", "she", "shelf/.", "no/x"])
def test_candidates_are_those_of_bash(shelf: Path, written: str) -> None:
    script = (
        'for name in $(compgen -f -- "$0"); do test -d "$name" && name=$name/; echo $name; done'
    )
    asked = ["bash", "-c", script, written]
    of_bash = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=shelf.parent)
    lead = written[: written.rfind("/") + 1]
    found = [lead + name for name in complete(written, anything).candidates]
    dots = {f"{lead}./", f"{lead}../"}
    assert sorted(found) == sorted(set(of_bash.stdout.split()) - dots)


@pytest.mark.parametrize(
    ("written", "text", "is_open"),
    [
        ("shelf/r", "shelf/ro", True),
        ("shelf/ro", "shelf/ro", True),
        ("shelf/row", "shelf/rows-t", True),
        ("shelf/rows-tr", "shelf/rows-train.csv", False),
        ("shelf/rome", "shelf/rome/", False),
        ("shelf/.k", "shelf/.kept.csv", False),
        ("shelf/no", "shelf/no", False),  # notes.md is no data
        ("shelf/", "shelf/ro", False),
        ("~/she", "~/shelf/", False),
        ("~", "~/", False),
        ("shelf/..", "shelf/../", False),
        ("~no-such-user/x", "~no-such-user/x", False),
        ("supp", "support_inbox", False),
        ("", "", False),
        ("a\0b/c", "a\0b/c", False),
    ],
)
def test_text_grows_by_what_is_certain(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, written: str, text: str, is_open: bool
) -> None:
    monkeypatch.setenv("HOME", str(shelf.parent))
    completion = complete(written, is_data_file, ["support_inbox"])
    assert completion.text == text
    assert (completion.is_open and completion.text == written) == (is_open and text == written)


def test_only_folders_are_offered_where_one_is_wanted(shelf: Path) -> None:
    assert complete("shelf/r", OFFERED["folder"]).candidates == ("rome/",)
    assert complete("shelf/r", OFFERED["model"]).candidates == ("rome/",)


def test_names_take_one_line() -> None:
    names = [f"name-{number}" for number in range(1000)]
    assert listed(names, 30) == "name-0  name-1  and 998 more"
    assert listed(names[:2], 30) == "name-0  name-1"
    assert len(listed(names, 60)) <= 60


def test_a_folder_of_many_files_is_listed_in_part(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_entries, "MAX_ENTRIES", 2)
    found = entries_of(shelf, is_data_file, lambda _: False)
    assert [entry.path.name for entry in found.entries] == ["rome", "rows-test.csv"]
    assert found.num_left_out == 1


async def browser(pilot: Pilot[None]) -> FilesScreen:
    await pilot.press("d")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, DataSetsScreen))
    await pilot.press("b")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, FilesScreen))
    screen = pilot.app.screen
    assert isinstance(screen, FilesScreen)
    await wait_for(pilot, lambda: screen.query("#choices") and screen.highlighted)
    return screen


def shown(screen: FilesScreen) -> list[str]:
    options = screen.query_one("#choices", OptionList).options
    return [Path(option.id or "").name for option in options]


async def test_tab_completes_in_the_browser_and_its_list_follows(shelf: Path) -> None:
    (shelf / "rome" / "two.csv").write_text("prompt,response\na,b\n")
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        files = await browser(pilot)
        line = files.query_one("#written", PathInput)
        before = line.value
        await pilot.press("slash", *"she")
        assert line.value == f"{before}she"  # one writes on behind the folder
        await pilot.press("tab")
        await wait_for(pilot, lambda: line.value == f"{before}shelf/")
        await wait_for(pilot, lambda: "rows-test.csv" in shown(files))
        await pilot.press("r", "tab")
        await wait_for(pilot, lambda: line.value.endswith("shelf/ro"))
        await wait_for(pilot, lambda: len(shown(files)) == 4)
        assert shown(files) == ["..", "rome", "rows-test.csv", "rows-train.csv"]
        await pilot.press("tab")
        await pilot.pause(0.1)
        assert line.has_focus  # more has to be written
        await pilot.press(*"ws-tr")
        await wait_for(pilot, lambda: shown(files) == ["..", "rows-train.csv"])
        await wait_for(pilot, lambda: line._suggestion.endswith("shelf/rows-train.csv"))
        await pilot.press("right")
        assert line.value.endswith("shelf/rows-train.csv")
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, SetupScreen))
        assert isinstance(app.screen, SetupScreen)
        assert app.screen.form.rows[DATA].text == str(shelf / "rows-train.csv")


async def test_candidates_stand_below_a_field_and_tab_leads_on(shelf: Path) -> None:
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        assert isinstance(app.screen, SetupScreen)
        row = app.screen.form.rows[DATA]
        row.focus_input()
        line = row.query_one(PathInput)
        await pilot.press(*"shelf/r", "tab")
        await wait_for(pilot, lambda: line.value == "shelf/ro")
        words = row.query_one(".field-help")
        await wait_for(pilot, lambda: str(words.render()) == "rome/  rows-test.csv  rows-train.csv")
        await pilot.press("m", "tab")
        await wait_for(pilot, lambda: line.value == "shelf/rome/")
        await wait_for(pilot, lambda: "rows-" not in str(words.render()))
        await pilot.press("o", "tab", "tab")
        await wait_for(pilot, lambda: not line.has_focus)
        assert line.value == row.text == "shelf/rome/one.csv"
        await pilot.press("shift+tab")
        assert line.has_focus


async def test_folders_are_read_beside_the_event_loop(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = set()

    def read(folder: Path, start: str = "") -> list[tuple[str, bool]]:
        readers.add(threading.current_thread())
        return []

    monkeypatch.setattr("ptune_tui.tui.path_completion.names_in", read)
    monkeypatch.setattr("ptune_tui.tui.folder_entries.names_in", read)
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        files = await browser(pilot)
        await pilot.press("slash", *"she", "tab")
        await wait_for(pilot, lambda: not files.query_one("#written", Input).has_focus)
        assert readers
        assert threading.main_thread() not in readers


async def test_fields_of_paths_say_which_key_completes() -> None:
    app = PTuneApp()
    async with opened(app, size=(80, 24)) as pilot:
        row = app.screen.query_one("#field-model-source", FieldRow)
        row.focus_input()
        await pilot.pause()
        shown = {each.binding.description for each in app.screen.active_bindings.values()}
        assert "Complete" in shown
        await pilot.press("f1")
        await pilot.pause()
        assert "Tab or Right" in str(app.screen.query_one("#help Static").render())
