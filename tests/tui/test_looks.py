"""Colours, charts, help for what has the focus, and copying."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from textual.color import Color
from textual.theme import Theme
from textual.widgets import Input, Static

from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.bindings import ACTIONS
from ptune_tui.tui.themes import HIGH_CONTRAST
from tests.tui import fakes
from tests.tui.helpers import opened, wait_for

BRAILLE = range(0x2801, 0x2900)
BLOCKS = set("▘▝▀▖▌▞▛▗▚▐▜▄▙▟█")


def settings(home: Path) -> dict[str, object]:
    return tomllib.loads((home / "settings.toml").read_text())


def screen_text(app: PTuneApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def luminance(colour: Color) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [value / 255 for value in (colour.r, colour.g, colour.b)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted(luminance(Color.parse(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", HIGH_CONTRAST, ids=lambda theme: theme.name)
def test_high_contrast_texts_reach_seven_to_one(theme: Theme) -> None:
    variables = {**theme.to_color_system().generate(), **theme.variables}
    papers = [variables[name] for name in ("background", "surface", "panel")]
    names = ["foreground", *(name for name in variables if name.startswith("text"))]
    names += ["primary", "warning", "error", "success", "accent", "surface-lighten-3"]
    for name in names:
        if variables[name].startswith(("#", "rgb")):
            for paper in papers:
                assert contrast(variables[name], paper) >= 7, name


async def test_theme_and_charts_are_remembered(home: Path, tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        assert not (home / "settings.toml").exists()
        app.theme = "high-contrast-light"
        await pilot.press("B")
        await wait_for(pilot, lambda: "charts" in settings(home))
    assert settings(home) == {"theme": "high-contrast-light", "charts": "blocks"}
    again = PTuneApp("train", attach=run)
    assert (again.theme, again.charts) == ("high-contrast-light", "blocks")


async def test_charts_without_braille(home: Path, tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        assert any(ord(sign) in BRAILLE for sign in screen_text(app))
        await pilot.press("B")
        await pilot.pause(0.2)
        text = screen_text(app)
        assert not any(ord(sign) in BRAILLE for sign in text)
        assert len(BLOCKS & set(text)) > 3


async def test_without_colour_nothing_is_coloured_and_the_cursor_is_still_seen(
    monkeypatch: pytest.MonkeyPatch, some_runs: Path
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = PTuneApp("runs")
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.runs is not None)
        await pilot.pause(0.3)
        styles = [
            (segment.text, segment.style)
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None
        ]
        for _, style in styles:
            for colour in (style.color, style.bgcolor):
                assert colour is None or colour.is_default
        assert any(style.reverse and "running" in text for text, style in styles)
        app.action_change_theme()
        await wait_for(pilot, lambda: app._notifications)
        assert "NO_COLOR" in next(iter(app._notifications)).message


@pytest.mark.parametrize(
    ("place", "focus", "words"),
    [
        ("setup", "#field-training-learning-rate Input", ("The field learning rate", "A number.")),
        ("setup", "#field-method-name Choice", ("The field method", "Default: prompt", "One of: ")),
        ("train", "#chart", ("The chart", "a jump up is a bad step")),
        ("train", "#stages-box", ("The stages", "‖ paused")),
        ("train", "#samples-box", ("✓ right, ✗ wrong",)),
        ("runs", "#runs-table", ("The table of runs", "□ stopped")),
    ],
)
async def test_help_begins_with_what_has_the_focus(
    some_runs: Path, place: str, focus: str, words: tuple[str, ...]
) -> None:
    app = PTuneApp(place, attach=some_runs / "finished")  # type: ignore[arg-type]
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        app.screen.query_one(focus).focus()
        await pilot.pause()
        await pilot.press("f1")
        text = str(app.screen.query_one("#help Static", Static).render())
        about, _, keys = text.partition("\n\n")
        about = " ".join(about.split())
        assert all(word in about for word in words)
        rows = [action for action in ACTIONS if action.place == place]
        words_of = " ".join(keys.split())  # tooltips wrap
        assert all(action.tooltip in words_of for action in rows)


async def test_y_copies_through_the_terminal(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    app = PTuneApp("train", attach=run)
    async with opened(app, size=(80, 24)) as pilot:
        await pilot.pause()
        assert app._driver is not None
        written: list[str] = []
        app._driver.write = written.append  # type: ignore[method-assign]
        await pilot.press("y")
        assert app.clipboard == str(run)
        app.screen.query_one("#samples-box").focus()
        await pilot.press("y")
        assert "expected: billing\nanswer: returns" in app.clipboard
        await pilot.press("w", "y")
        assert "0.71 s a step in the probe" in app.clipboard
        copies = [text for text in written if text.startswith("\x1b]52;c;")]
        assert len(copies) == 3


@pytest.mark.usefixtures("fake_chat")
async def test_the_tuned_answer_is_copied(tmp_path: Path) -> None:
    app = PTuneApp("chat", bundle=fakes.write_bundle(tmp_path / "bundle"))
    async with opened(app, size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.screen.state == "ready")
        assert app.screen.check_action("copy", ()) is None
        await pilot.press(*"hi", "enter")
        await wait_for(pilot, lambda: app.screen.check_action("copy", ()))
        await wait_for(pilot, lambda: app.screen.state == "ready")
        await pilot.press("f7")
        assert app.clipboard == "returns"
        assert app.screen.query_one("#ask", Input).value == ""
