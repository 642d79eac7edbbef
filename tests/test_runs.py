"""Runs on disk and their summaries."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from export.errors import BundleError
from ptune_tui import runs
from ptune_tui.cli import export as export_command
from ptune_tui.cli import listing
from ptune_tui.cli.train import summary_lines
from ptune_tui.cli.work import make_display, work
from ptune_tui.config import RunConfig
from ptune_tui.errors import DataError, UsageError
from ptune_tui.events import (
    CheckpointSaved,
    Continued,
    EvaluationDone,
    Event,
    LineFollower,
    ModelReady,
    Paused,
    StepDone,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    encode_line,
)
from ptune_tui.locks import remove_lock, write_lock
from ptune_tui.paths import runs_folder
from ptune_tui.run_files import delete_run
from ptune_tui.run_listing import RunListing, has_runs
from ptune_tui.run_prompt import has_prompt, require_prompt
from ptune_tui.tasks import EVENTS_FILE, TASK_FILE, InspectTask, TrainTask, write_task
from ptune_tui.tui.compare_subjects import subjects
from ptune_tui.tui.export_choice import export_sources
from ptune_tui.tui.outcome import outcome_of
from ptune_tui.tui.run_look import Looks
from ptune_tui.tui.run_rows import best_words, cell_text, filtered
from ptune_tui.tui.run_status import run_status
from ptune_tui.tui.session import Session
from ptune_tui.tui.widgets.run_details import details
from tests.tui import fakes

STARTED = TaskStarted(time=1000.0, pid=1, kind="train")


def step(number: int) -> StepDone:
    return StepDone(
        step=number,
        max_steps=100,
        loss=1.0,
        learning_rate=0.1,
        gradient_norm=1.0,
        tokens_per_second=1000.0,
        peak_memory_bytes=1,
        elapsed_seconds=float(number),
        eta_seconds=1.0,
    )


def evaluation(accuracy: float, tuned: bool = True, is_best: bool = False) -> EvaluationDone:
    return EvaluationDone(
        step=1,
        num_rows=10,
        accuracy=accuracy,
        macro_f1=None,
        loss=None,
        seconds=1.0,
        tuned=tuned,
        is_best=is_best,
    )


def make_run(folder: Path, events: list[Event]) -> Path:
    write_task(folder, TrainTask(RunConfig()))
    (folder / EVENTS_FILE).write_bytes(b"".join(encode_line(event) for event in events))
    return folder


def test_finished_run_is_summarised(tmp_path: Path) -> None:
    ready = ModelReady("tiny", "llama", 2, 8, 16, 100, 50, None, "int4", "stream", "abc", 2)
    run = make_run(
        tmp_path,
        [
            STARTED,
            ready,
            evaluation(0.4, tuned=False),
            step(1),
            evaluation(0.9, is_best=True),
            step(2),
            evaluation(0.7),
            TaskFinished(seconds=12.0),
        ],
    )
    summary = runs.summarise(run)
    assert summary.status == "finished"
    assert (summary.model, summary.data, summary.method) == ("tiny", "support_inbox", "prompt")
    assert (summary.base_accuracy, summary.best_accuracy) == (0.4, 0.9)
    assert (summary.step, summary.max_steps, summary.started) == (2, 100, 1000.0)
    assert (summary.seconds, summary.error, summary.num_unreadable_lines) == (12.0, None, 0)


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (TaskFinished(seconds=1.0, stopped_early=True), "stopped"),
        (TaskFailed("interrupted", "Interrupted.", "", ""), "stopped"),
        (TaskFailed("data", "Row 3 is empty.", "", ""), "failed"),
        (step(3), "killed"),
    ],
)
def test_status_comes_from_the_last_event(tmp_path: Path, ending: Event, status: str) -> None:
    assert runs.summarise(make_run(tmp_path, [STARTED, ending])).status == status


def test_run_whose_worker_lives_is_running(tmp_path: Path) -> None:
    run = make_run(tmp_path, [STARTED, step(1)])
    write_lock(run)
    assert runs.summarise(run).status == "running"


def test_a_run_that_waits_is_paused_until_it_goes_on(tmp_path: Path) -> None:
    run = make_run(tmp_path, [STARTED, step(1), Paused(1)])
    assert runs.summarise(run).status == "killed"
    write_lock(run)
    assert runs.summarise(run).status == "paused"
    with (run / EVENTS_FILE).open("ab") as file:
        file.write(encode_line(Continued(1, 3.0)))
    assert runs.summarise(run).status == "running"


def test_resumed_run_has_not_ended(tmp_path: Path) -> None:
    failed = TaskFailed("resources", "No space left.", "", "")
    run = make_run(tmp_path, [STARTED, failed, STARTED, step(5)])
    write_lock(run)
    summary = runs.summarise(run)
    assert (summary.status, summary.error) == ("running", None)


def test_damaged_unknown_and_half_written_lines_are_skipped(tmp_path: Path) -> None:
    run = make_run(tmp_path, [STARTED, step(1)])
    with (run / EVENTS_FILE).open("ab") as file:
        file.write(b'{"type":"InventedLater","step":9}\nnot json\n\xff\xfe\n')
        file.write(encode_line(step(2)) + encode_line(step(3))[:-20])
    summary = runs.summarise(run)
    assert (summary.step, summary.num_unreadable_lines) == (2, 3)


def test_the_time_of_training_skips_damaged_lines(tmp_path: Path) -> None:
    run = make_run(tmp_path, [STARTED, step(1)])
    with (run / EVENTS_FILE).open("ab") as file:
        file.write(b'{"type":"StepDone","st\n')
        file.write(encode_line(step(7)))
    assert runs.training_seconds(run) == 7.0


def test_folder_that_is_gone_gives_an_empty_summary(tmp_path: Path) -> None:
    summary = runs.summarise(tmp_path / "gone")
    assert (summary.status, summary.step, summary.started) == ("killed", 0, None)
    assert RunListing(tmp_path / "gone").read() == []


def test_hundred_thousand_events_take_less_than_a_second(tmp_path: Path) -> None:
    run = make_run(tmp_path, [STARTED])
    with (run / EVENTS_FILE).open("ab") as file:
        file.write(encode_line(step(7)) * 100_000)
    start = time.perf_counter()
    assert runs.summarise(run).step == 7
    assert time.perf_counter() - start < 1.0


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.json").write_text("{}")
    (tmp_path / "a" / "events.jsonl").mkdir()
    said: list[str] = []
    assert [summary.name for summary in RunListing(tmp_path).read(said.append)] == ["b"]
    assert len(said) == 1
    assert said[0].startswith(f"left out: {tmp_path / 'a'} cannot be read")


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use is not deleted there")
def test_a_worker_is_not_started_in_a_folder_that_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UsageError, match="The current folder was deleted"):
        work(tmp_path / "task", InspectTask("run", ""), make_display("none"))


def test_runs_are_listed_latest_first_and_other_folders_left_out(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [TaskStarted(1.0, 1, "train")])
    make_run(tmp_path / "b", [TaskStarted(2.0, 1, "train")])
    (tmp_path / "notes").mkdir()
    assert [summary.name for summary in RunListing(tmp_path).read()] == ["b", "a"]


def test_run_is_found_by_path_name_and_as_the_last(tmp_path: Path) -> None:
    old = make_run(tmp_path / "old", [STARTED])
    new = make_run(tmp_path / "new", [STARTED])
    os.utime(old / TASK_FILE, (1, 1))
    assert runs.find_run("last", tmp_path) == new
    assert runs.find_run("old", tmp_path) == old
    assert runs.find_run(str(old), tmp_path / "elsewhere") == old


def test_run_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    make_run(tmp_path / "sentiment", [STARTED])
    with pytest.raises(UsageError, match="sentimet") as caught:
        runs.find_run("sentimet", tmp_path)
    assert "`sentiment`" in caught.value.hint
    with pytest.raises(UsageError, match="not a run"):
        runs.find_run(str(tmp_path))
    with pytest.raises(UsageError, match="last"):
        runs.find_run("last", tmp_path / "empty")


def test_reader_reads_only_what_was_added(tmp_path: Path) -> None:
    run = make_run(tmp_path, [STARTED, step(1), evaluation(0.5)])
    reader = runs.RunReader(run)
    assert reader.summary().step == 1
    (run / EVENTS_FILE).write_bytes(b" " * (run / EVENTS_FILE).stat().st_size)  # not read again
    with (run / EVENTS_FILE).open("ab") as file:
        file.write(encode_line(step(2)) + encode_line(evaluation(0.8)) + encode_line(step(3))[:9])
    summary = reader.summary()
    assert (summary.step, summary.best_accuracy, summary.num_unreadable_lines) == (2, 0.8, 0)


def test_listing_outlives_what_happens_to_its_folders(tmp_path: Path) -> None:
    make_run(tmp_path / "kept", [STARTED, step(1), TaskFinished(seconds=1.0)])
    make_run(tmp_path / "deleted", [STARTED])
    half = make_run(tmp_path / "half", [STARTED])
    (half / TASK_FILE).write_bytes(b'{"type":"train","con')
    (half / EVENTS_FILE).unlink()
    listing = RunListing(tmp_path)
    assert {run.name for run in listing.read()} == {"kept", "deleted", "half"}
    shutil.rmtree(tmp_path / "deleted")
    kept = {run.name: run for run in listing.read()}
    assert {name: run.status for name, run in kept.items()} == {
        "kept": "finished",
        "half": "killed",
    }
    shutil.rmtree(tmp_path)
    assert listing.read() == []
    assert not has_runs(tmp_path)


def test_listing_sees_what_changes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [STARTED, step(1)])
    write_lock(run)
    listing = RunListing(tmp_path)
    assert [(found.status, found.step) for found in listing.read()] == [("running", 1)]
    with (run / EVENTS_FILE).open("ab") as file:
        file.write(encode_line(step(2)) + encode_line(TaskFinished(seconds=3.0)))
    assert [(found.status, found.step) for found in listing.read()] == [("finished", 2)]


def test_run_that_goes_on_is_not_deleted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [STARTED])
    write_lock(run)
    with pytest.raises(UsageError, match="still runs"):
        delete_run(run)
    assert run.is_dir()
    remove_lock(run)
    delete_run(run)
    assert not run.exists()


def test_a_damaged_byte_inside_a_text_is_one_unreadable_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / EVENTS_FILE).write_bytes(b'{"type":"Notice","code":"a","message":"\xff"}\n')
    assert runs.summarise(run).num_unreadable_lines == 1


def test_listing_opens_only_what_changed_and_knows_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fakes.MODEL
    for name in ("one", "two"):
        make_run(tmp_path / name, [STARTED, model, step(1), TaskFinished(seconds=1.0)])
    listing = RunListing(tmp_path)
    assert [run.model for run in listing.read_all()] == [model, model]
    opened: list[str] = []
    real = LineFollower.new_lines

    def new_lines(self: LineFollower) -> Iterator[bytes]:
        opened.append(self.path.parent.name)
        return real(self)

    monkeypatch.setattr(LineFollower, "new_lines", new_lines)
    listing.read_all()
    assert opened == []
    with (tmp_path / "two" / EVENTS_FILE).open("ab") as file:
        file.write(encode_line(step(2)))
    assert {run.summary.name: run.summary.step for run in listing.read_all()} == {
        "one": 1,
        "two": 2,
    }
    assert opened == ["two"]


def test_a_run_whose_worker_was_killed_before_it_saved_has_no_prompt(tmp_path: Path) -> None:
    """A validation is told before its prompt is saved, and the folder is made before its files."""
    run = make_run(tmp_path / "runs" / "cut", [STARTED, evaluation(0.25, is_best=True)])
    (run / "adapter").mkdir()
    whole = fakes.write_run(tmp_path / "runs" / "whole", fakes.finished())
    assert not has_prompt(run)
    listing = RunListing(tmp_path / "runs")
    assert [source.path for source in export_sources(listing)] == [whole]
    assert [subject.run for subject in subjects(listing, run, None)] == [whole]
    for name in ("adapter_config.json", "adapter_model.safetensors", "prompt.json"):
        with pytest.raises(DataError, match="holds no trained prompt"):
            require_prompt(run)
        (run / "adapter" / name).write_bytes(b"")
    require_prompt(run)


def test_free_text_is_scored_by_its_loss_under_that_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A good answer hardly ever is the expected one to the letter: it reads 2.0 % by matches."""
    folder = fakes.write_run(
        runs_folder() / "text", [*fakes.free_text(), CheckpointSaved(50, "a", 0.02, True)]
    )
    with (folder / EVENTS_FILE).open("ab") as file:
        file.write(encode_line(TaskFinished(60.0)))
    run = runs.summarise(folder)
    assert cell_text(run, "score", 0.0) == "loss 1.31 (2.87)"
    assert cell_text(run, "score", 0.0, width=13) == "loss 1.31"
    assert run in filtered([run], "loss 1.31", 0.0)
    (source,) = export_sources(RunListing())
    assert best_words(source.summary) == "best loss 1.31"
    assert [subject.about for subject in subjects(RunListing(), None, None)] == ["best loss 1.31"]
    session = Session()
    session.attach(folder)
    session.poll()
    assert session.run is not None
    assert run_status(session.run.state, is_active=False) == "✓ finished, best loss 1.31"
    assert "score   validation loss 1.31 (base 2.87)" in outcome_of(session).lines()
    lines = {line.label: line.text for line in details(run, Looks().look([folder])[folder], 0.0)}
    assert lines["loss"].startswith("base 2.87, best 1.31 at step 50")
    assert lines["exact"].startswith("base 0.0 %, best 2.0 % at step 50")
    listing.runs(as_json=False)
    assert "  validation loss 1.310 (base 2.870)  " in capsys.readouterr().out
    listing.runs(as_json=True)
    (told,) = json.loads(capsys.readouterr().out)
    names = ("best_accuracy", "base_accuracy", "best_loss", "base_loss", "is_free_text")
    assert [told[name] for name in names] == [0.02, 0.0, 1.31, 2.87, True]
    said = summary_lines(folder, [TaskFinished(60.0, summary={"accuracy": 0.02, "best_step": 50})])
    assert said[1].startswith("Validation loss 2.870 without, 1.310 with the soft prompt")


def test_a_run_without_a_prompt_is_only_gone_on_with_from_a_checkpoint(tmp_path: Path) -> None:
    def hint() -> str:
        with pytest.raises(DataError, match="no trained prompt") as caught:
            require_prompt(tmp_path)
        return caught.value.hint

    assert "ptune" not in hint()
    (tmp_path / "config.toml").touch()
    assert hint() == f"`ptune train {tmp_path / 'config.toml'}` begins again."
    (tmp_path / "checkpoints" / "last").mkdir(parents=True)
    assert hint() == f"`ptune train --resume {tmp_path}` goes on with it."


def test_a_taken_place_is_refused_before_an_export_starts_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    monkeypatch.setattr(export_command, "work", lambda *_: pytest.fail("a worker was started"))
    (tmp_path / "taken").mkdir()
    with pytest.raises(BundleError, match="already there"):
        export_command.export(str(run), out=tmp_path / "taken")
