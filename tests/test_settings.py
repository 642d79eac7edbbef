"""The settings file: read strictly, written line by line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ptune_tui.errors import DataError
from ptune_tui.settings import Settings, read_settings, remember


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    read = read_settings(tmp_path / "settings.toml")
    assert (read.settings, read.problem) == (Settings(), "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("theme = ", "Invalid value"),
        ("colour = 'red'", "unknown field `colour`"),
        ("charts = 'ascii'", "$.charts"),
        ("theme = 3", "$.theme"),
        ("[keys]\n'train.stop' = ['s']", "$.keys"),
        ("theme = 'caf\udce9'", "utf-8"),
    ],
)
def test_a_broken_file_is_said_with_its_place_and_is_left_alone(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    read = read_settings(path)
    assert read.settings == Settings()
    assert str(path) in read.problem
    assert words in read.problem
    before = path.read_bytes()
    with pytest.raises(DataError, match="is not remembered"):
        remember("theme", "nord", path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "charts = 'blocks'",
        "# mine\ntheme = 'nord'  # blue\n[keys]\n'train.stop' = 'S'\n",
        "# no table\n  theme='x'",
        '\n  [keys]\n"app.theme" = "T"\n# theme = "old"\n',
    ],
)
def test_remembering_changes_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep" / "settings.toml"
    path.parent.mkdir()
    path.write_text(text)
    remember("theme", "high-contrast-light", path)
    written = path.read_text()
    assert tomllib.loads(written) == {**tomllib.loads(text), "theme": "high-contrast-light"}
    kept = [line for line in text.splitlines() if line.strip() and "theme=" not in line]
    kept = [line for line in kept if not line.startswith("theme")]
    assert [line for line in written.splitlines() if line in kept] == kept


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"theme" = "x"\n', 'theme = "nord"\n'),
        ("'theme'='x#y'  # 'mine'\n", "theme = \"nord\"  # 'mine'\n"),
        ('theme = "a\\"b" # c\n[keys]\n', 'theme = "nord" # c\n[keys]\n'),
    ],
)
def test_a_line_keeps_its_comment_whatever_its_quotes(
    tmp_path: Path, before: str, after: str
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(before)
    remember("theme", "nord", path)
    assert path.read_text() == after


@pytest.mark.parametrize(
    "text", ['theme = """x"""\n', 'keys = {"train.stop" = """\n[s\n"""}\ntheme = "x"\n']
)
def test_a_file_that_a_changed_line_would_break_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    assert not read_settings(path).problem
    with pytest.raises(DataError, match="no line can be changed") as raised:
        remember("theme", "nord", path)
    assert 'theme = "nord"' in raised.value.hint
    assert path.read_text() == text


def test_the_first_setting_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config" / "settings.toml"
    remember("charts", "blocks", path)
    assert read_settings(path).settings == Settings(charts="blocks")
