"""Keys: which there may be, what is refused, and that all of the app follows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Static

from ptune_tui import doctor
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.bindings import ACTIONS
from ptune_tui.tui.keymap import PORTABLE, keys_document, make_keymap, share_a_place
from ptune_tui.tui.screens.train import TrainScreen
from tests.tui import fakes
from tests.tui.helpers import opened

DOCUMENT = Path(__file__).parents[2] / "docs" / "keys.md"


def write_settings(home: Path, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "settings.toml").write_text(text)


def said(app: PTuneApp) -> str:
    return " ".join(note.message for note in app._notifications)


def test_every_key_passes_tmux_ssh_and_macos() -> None:
    kept_by_others = {"ctrl+b", "ctrl+a", "ctrl+j", "ctrl+m", "ctrl+i", "ctrl+h", "ctrl+s"}
    assert not kept_by_others & PORTABLE
    for action in ACTIONS:
        keys = set(action.key.split(","))
        assert keys <= PORTABLE, action.id


def test_ids_are_unique() -> None:
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)


def test_the_document_is_that_of_the_table() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == keys_document(), (
        "python bench/keys.py docs/keys.md"
    )
    for action in ACTIONS:
        assert f"`{action.id}`" in keys_document()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"train.stopp": "S"}, "did you mean `train.stop`?"),
        ({"nothing": "S"}, "no action `nothing`"),
        ({"train.stop": "ctrl+j"}, "`train.stop` cannot have the key `ctrl+j`"),
        ({"train.stop": ""}, "cannot have the key ``"),
        ({"train.stop": "e"}, "`train.stop` cannot have the key `e`: `train.evaluate` has it"),
        ({"train.stop": "q"}, "`app.quit` has it"),
        ({"app.theme": "s"}, "`train.stop` has it"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(asked: dict[str, str], words: str) -> None:
    keymap = make_keymap({**asked, "runs.copy": "Y"})
    assert dict(keymap.changed) == {"runs.copy": "Y"}
    assert len(keymap.problems) == 1
    assert words in keymap.problems[0]


def test_keys_may_change_places_and_recur_elsewhere() -> None:
    asked = {"train.stop": "e", "train.evaluate": "s, f11", "runs.mark": "?,m", "app.help": "f1"}
    keymap = make_keymap(asked)
    assert not keymap.problems
    assert keymap.changed["train.evaluate"] == "s,f11"
    assert keymap.changed["runs.mark"] == "question_mark,m"


def test_two_entries_with_one_key_leave_one() -> None:
    keymap = make_keymap({"train.stop": "z", "train.evaluate": "z"})
    assert len(keymap.changed) == len(keymap.problems) == 1


def test_places_share_keys_only_with_the_app() -> None:
    rows = {action.id: action for action in ACTIONS}
    assert share_a_place(rows["app.quit"], rows["train.stop"])
    assert not share_a_place(rows["runs.mark"], rows["train.stop"])


async def test_other_keys_work_and_stand_wherever_the_key_is_named(
    home: Path, tmp_path: Path
) -> None:
    write_settings(home, '[keys]\n"train.view" = "V"\n"app.setup" = "S"\n"train.plan" = "v"\n')
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        chart = app.screen.query_one("#chart")
        assert "V: " in str(chart.border_subtitle)
        assert "S sets up another run" in str(app.screen.query_one("#ending", Static).render())
        assert "S Setup" in str(app.screen.query_one("#place-bar", Static).render())
        before = str(chart.border_title)
        await pilot.press("v")
        assert isinstance(app.screen, TrainScreen)
        assert app.screen.shows_reasons
        assert str(chart.border_title) == before
        await pilot.press("V")
        assert str(chart.border_title) != before
        await pilot.press("question_mark")
        shown = str(app.screen.query_one("#help Static", Static).render())
        assert "V       Show all steps" in shown
        await pilot.press("escape", "S")
        await pilot.pause()
        assert app.current_mode == "setup"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("theme = 3", "$.theme"),
        ('theme = "purple"', "no theme `purple`"),
        ('[keys]\n"train.halt" = "h"', "no action `train.halt`"),
    ],
)
async def test_what_does_not_hold_is_said_and_the_app_opens(
    home: Path, text: str, words: str
) -> None:
    write_settings(home, text)
    app = PTuneApp("train")
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        assert words in said(app)
        assert app.theme == "textual-dark"


def test_doctor_prints_the_path_and_what_does_not_hold(home: Path) -> None:
    def settings() -> doctor.Check:
        return next(check for check in doctor.checks() if check.name == "Settings")

    assert settings().status == "ok"
    assert str(home / "settings.toml") in settings().detail
    write_settings(home, '[keys]\n"train.stop" = "e"\n')
    assert settings().status == "warn"
    assert "`train.evaluate` has it" in settings().hint
