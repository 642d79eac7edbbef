"""Runs that were given a folder of their own are found again."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from ptune_tui.cli import app as command
from ptune_tui.cli import work
from ptune_tui.cli.train import new_run
from ptune_tui.config import RunConfig
from ptune_tui.errors import UsageError
from ptune_tui.locks import remove_lock
from ptune_tui.paths import known_runs_file, runs_folder
from ptune_tui.run_files import delete_run
from ptune_tui.run_index import known_runs, remember_run
from ptune_tui.run_listing import RunListing, has_runs
from ptune_tui.runs import find_run, resumable_config, run_word
from ptune_tui.tasks import ExportTask, write_task
from ptune_tui.tui.app import PTuneApp
from ptune_tui.tui.outcome import AppOutcome, outcome_of
from tests.tui import fakes


def test_a_run_elsewhere_is_listed_and_found_until_its_folder_is_gone(tmp_path: Path) -> None:
    assert not has_runs()
    mine = fakes.write_run(tmp_path / "a\nb" / "mine", fakes.finished())
    for _ in range(2):
        remember_run(mine)
    inside = fakes.write_run(runs_folder() / "inside", fakes.running())
    remember_run(inside)
    assert known_runs() == [mine]
    assert has_runs()
    assert {run.path for run in RunListing().read()} == {mine, inside}
    assert RunListing(runs_folder()).folders() == [inside]
    assert find_run("mine") == mine
    with pytest.raises(UsageError) as caught:
        find_run("mime")
    assert "`mine`" in caught.value.hint
    os.utime(inside / "task.json", (1, 1))
    assert find_run("last") == mine
    shutil.rmtree(mine)
    assert {run.path for run in RunListing().read()} == {inside}
    other = fakes.write_run(tmp_path / "other", fakes.running())
    remember_run(other)
    assert known_runs_file().read_text() == f'"{other}"\n'  # what is gone is dropped


def test_the_run_of_the_working_folder_goes_before_one_of_that_name_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_run(fakes.write_run(tmp_path / "far" / "mine", fakes.finished()))
    fakes.write_run(tmp_path / "near" / "mine", fakes.finished())
    monkeypatch.chdir(tmp_path / "near")
    assert find_run("mine") == Path("mine")


def test_many_programs_remember_at_the_same_time(tmp_path: Path) -> None:
    runs = [fakes.write_run(tmp_path / str(number), []) for number in range(40)]
    threads = [
        threading.Thread(target=lambda part: [remember_run(run) for run in part], args=(part,))
        for part in (runs[:10], runs[10:20], runs[20:30], runs[30:])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(known_runs()) == sorted(runs)


def test_damaged_lines_hide_no_other(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", [])
    remember_run(run)
    known_runs_file().write_bytes(b'"half\n\xff\n' + known_runs_file().read_bytes())
    assert known_runs() == [run]


def test_deleting_a_run_elsewhere_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    (run / "thesis.tex").write_text("mine")
    fakes.write_bundle(run / "bundle")
    delete_run(run)
    assert [path.name for path in run.iterdir()] == ["thesis.tex"]


def test_a_run_that_goes_on_is_not_resumed_and_the_hint_attaches_to_it(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.beginning(), is_held=True)
    with pytest.raises(UsageError, match="its worker is alive") as caught:
        resumable_config(run)
    assert caught.value.hint == f"`ptune attach {run}` shows it."
    remove_lock(run)
    with pytest.raises(UsageError, match="no checkpoint"):
        resumable_config(run)


def test_the_command_that_is_told_on_leaving_opens_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fakes.write_run(tmp_path / "my run", fakes.running(), is_held=True)
    session = PTuneApp(attach=run).session
    session.poll()
    told = outcome_of(session).next_command
    assert told == f"ptune attach '{run}'"
    opened: list[Path | None] = []

    def run_app(bundle: Path | None = None, attach: Path | None = None) -> AppOutcome:
        opened.append(attach)
        return AppOutcome()

    monkeypatch.setattr("ptune_tui.tui.app.run_app", run_app)
    monkeypatch.setattr(command, "missing_terminal", lambda: None)
    command.attach(str(run))
    assert opened == [run]
    assert find_run("my run") == run


def test_an_index_that_cannot_be_written_is_said_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fakes.write_run(tmp_path / "run", [])
    known_runs_file().parent.parent.mkdir(exist_ok=True)
    known_runs_file().parent.write_text("a file in the folder's place")
    work.note_run(run)
    assert f"`ptune runs` will not list {run}" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["folder", "strange"])
def test_an_index_that_cannot_be_read_is_said_once_and_never_overwritten(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = fakes.write_run(runs_folder() / "inside", fakes.finished())
    mine = fakes.write_run(tmp_path / "mine", [])
    if kind == "folder":
        known_runs_file().mkdir()
    else:
        strange = ["3", '"relative"', '"/nul\\u0000"', '"/\\ud800"', "[" * 100_000]
        known_runs_file().write_text("\n".join(strange))
    problems: list[str] = []
    assert [run.path for run in RunListing().read(problems.append)] == [inside]
    assert len(problems) == (kind == "folder")
    assert find_run("last") == inside
    work.note_run(mine)
    if kind == "folder":
        assert "cannot be read: Is a directory" in problems[0]
        assert f"will not list {mine}" in capsys.readouterr().err
    else:
        assert known_runs() == [mine]


def test_a_failing_read_keeps_the_index_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_run(fakes.write_run(tmp_path / "one", []))
    other = fakes.write_run(tmp_path / "two", [])
    before = known_runs_file().read_bytes()

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refuse)
        assert known_runs() == []
        with pytest.raises(PermissionError):
            remember_run(other)
    assert known_runs_file().read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on POSIX only")
def test_a_path_that_is_not_utf8_is_remembered(tmp_path: Path) -> None:
    run = fakes.write_run(Path(os.fsdecode(os.fsencode(tmp_path / "r") + b"\xff")), [])
    remember_run(run)
    assert known_runs() == [run]


def test_one_run_is_listed_once_whatever_it_was_called(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "real" / "mine", fakes.finished())
    os.symlink(tmp_path / "real", tmp_path / "link")
    for path in (run, tmp_path / "link" / "mine", tmp_path / "real" / ".." / "real" / "mine"):
        remember_run(path)
    assert [found.path for found in RunListing().read()] == [run]
    runs_folder().parent.mkdir(parents=True, exist_ok=True)
    os.symlink(tmp_path / "real", runs_folder())
    assert len(RunListing().folders()) == 1
    assert run_word(run) == "mine"


def test_a_name_of_two_runs_elsewhere_is_refused_with_both_paths(tmp_path: Path) -> None:
    paths = [fakes.write_run(tmp_path / name / "mine", []) for name in ("a", "b")]
    for path in paths:
        remember_run(path)
    with pytest.raises(UsageError) as caught:
        find_run("mine")
    assert all(str(path) in caught.value.message for path in paths)
    inside = fakes.write_run(runs_folder() / "mine", [])
    assert find_run("mine") == inside  # the folder of all runs goes first


def test_a_run_on_a_disk_that_is_away_is_remembered(tmp_path: Path) -> None:
    away = fakes.write_run(tmp_path / "disk" / "runs" / "mine", [])
    remember_run(away)
    (tmp_path / "disk").rename(tmp_path / "away")
    assert known_runs() == []
    remember_run(fakes.write_run(tmp_path / "other", []))
    (tmp_path / "away").rename(tmp_path / "disk")
    assert away in known_runs()


def test_only_a_training_run_is_attached_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptune_tui.tui.app.run_app", lambda **_: AppOutcome())
    monkeypatch.setattr(command, "missing_terminal", lambda: None)
    write_task(tmp_path / "task", ExportTask("run", "nowhere", "mine"))
    with pytest.raises(UsageError, match="not a training run"):
        command.attach(str(tmp_path / "task"))
    assert known_runs() == []


def test_a_run_is_not_started_in_a_folder_that_holds_something(tmp_path: Path) -> None:
    for name in ("a.py", "b", "c", "d"):
        (tmp_path / "project").mkdir(exist_ok=True)
        (tmp_path / "project" / name).touch()
    with pytest.raises(UsageError, match=r"not empty; it holds a\.py, b, c and 1 more") as caught:
        new_run(RunConfig(), tmp_path / "project")
    assert "my-run" in caught.value.hint
    with pytest.raises(UsageError, match="is a file"):
        new_run(RunConfig(), tmp_path / "project" / "a.py")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        assert new_run(RunConfig(), tmp_path / name) == tmp_path / name
