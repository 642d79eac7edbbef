"""What goes on beside what: one piece of work at a time, and no model that nobody asks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ptune_tui import jobs
from ptune_tui.config import RunConfig
from ptune_tui.events import TaskFailed, TaskFinished, TaskStarted, encode_line
from ptune_tui.lineup import Lineup
from ptune_tui.locks import own_lock, write_lock
from ptune_tui.results import EVALUATION_FILE, write_result
from ptune_tui.tasks import EVENTS_FILE, CompareTask, ExportTask, Lock
from ptune_tui.tui.export_state import ExportState
from ptune_tui.tui.left_running import take_up
from ptune_tui.tui.opened_run import read_run
from ptune_tui.tui.run_status import work_status
from ptune_tui.tui.session import Session
from ptune_tui.tui.talk import Talk
from tests.report.results import evaluation
from tests.tui import fakes
from tests.tui.conftest import UseWorker

Start = Callable[[Session, Path], None]
LINEUP = Lineup(run="run")


def train(session: Session, _: Path) -> None:
    session.start_run(RunConfig())


def resume(session: Session, run: Path) -> None:
    session.show_run(read_run(run))
    assert session.can_resume
    session.resume_run()


def export(session: Session, run: Path) -> None:
    session.start_export(ExportTask(str(run.absolute()), "bundle", "one"))


def find_rate(session: Session, _: Path) -> None:
    session.start_rate_test(RunConfig())


def compare(session: Session, _: Path) -> None:
    session.comparison.start_table(CompareTask(LINEUP, None, "ptune eval run"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was cut off, and can be resumed."""
    monkeypatch.setattr("ptune_tui.jobs.FRESH_SECONDS", 0.0)
    failed = TaskFailed("resources", "It was killed.", "", "log")
    return fakes.write_run(tmp_path / "run", [*fakes.running(), failed])


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (train, "training"),
        (resume, "training"),
        (export, "exporting"),
        (find_rate, "finding a rate"),
        (compare, "comparing"),
    ],
)
def test_work_ends_the_models_that_answer_and_holds_other_work(
    start: Start, words: str, run: Path, use_worker: UseWorker
) -> None:
    use_worker([], fakes.FOREVER)
    session = Session()
    session.comparison.ask(LINEUP, "a text")
    answers = session.comparison.answers
    assert answers is not None
    assert not session.is_busy  # a model that waits for the next text holds nothing
    start(session, run)
    assert answers.state.is_cancelled
    assert session.doing == words
    assert session.is_busy
    assert not session.can_resume


def test_a_run_that_goes_on_elsewhere_hides_no_table_that_is_made(
    tmp_path: Path, use_worker: UseWorker
) -> None:
    use_worker([], fakes.FOREVER)
    session = Session()
    compare(session, tmp_path)
    session.show_run(read_run(fakes.write_run(tmp_path / "r", fakes.running(), is_held=True)))
    assert session.at_work == [session.run, session.comparison.table]


def test_a_run_that_is_deleted_takes_only_its_own_export_along(
    run: Path, tmp_path: Path, use_worker: UseWorker
) -> None:
    use_worker([])
    session = Session()
    other = fakes.write_run(tmp_path / "other", fakes.finished())
    session.show_run(read_run(run))
    export(session, other)
    session.forget_run(run)
    assert session.run is None
    assert session.export is not None
    session.forget_run(other)
    assert session.export is None


def test_a_run_that_another_program_resumes_waits_for_the_new_worker(run: Path) -> None:
    session = Session()
    session.show_run(read_run(run))
    assert not session.is_behind(run)
    write_lock(run)  # its worker imports torch, and has not said anything
    assert session.is_behind(run)
    session.show_run(read_run(run))
    assert session.run is not None
    task = session.run.state.task
    assert (task.is_up, task.ending, task.stages["train"].status) == (False, None, "waiting")
    assert session.is_training
    assert not session.is_behind(run)
    with (run / EVENTS_FILE).open("ab") as file:
        file.write(encode_line(TaskStarted(fakes.START, os.getpid(), "train")))
    session.poll()
    assert session.run.state.task.is_up


def test_work_that_an_earlier_app_left_running_is_followed_and_can_be_stopped(
    run: Path, use_worker: UseWorker
) -> None:
    use_worker(fakes.exporting(), "time.sleep(0.5)\n")
    earlier = Session()
    export(earlier, run)
    use_worker(fakes.comparing(num_done=2), fakes.FOREVER)
    earlier.comparison.start_table(CompareTask(Lineup(run=str(run)), None, "ptune eval run"))
    jobs.new_task_folder("export").joinpath("lock.json").write_text("{")  # damaged, of nobody
    session = Session()
    take_up(session)
    assert session.is_exporting
    assert session.work_that_goes_on == ["export", "comparison"]
    assert session.export is not None
    assert session.export.state.asked.run == str(run.absolute())
    comparison = session.comparison
    assert comparison.is_making_table
    assert comparison.compared == (run, None)
    deadline = time.monotonic() + 30
    while not comparison.table or len(comparison.table.state.lines) < 3 or session.is_exporting:
        assert time.monotonic() < deadline
        session.poll()
        time.sleep(0.02)
    assert session.doing == "comparing"
    comparison.cancel_table()
    while session.is_busy:
        assert time.monotonic() < deadline
        session.poll()
        time.sleep(0.02)
    again = Session()
    take_up(again)
    assert (again.export, again.comparison.table) == (None, None)


def export_elsewhere(run: Path, owner: Lock) -> None:
    """What a command in another terminal, or one that was killed, has begun."""
    task = ExportTask(str(run.absolute()), "bundle", "one", owner=owner)
    jobs.start(jobs.new_task_folder("export"), task)


def test_an_export_of_another_terminal_holds_up_no_work_but_that_on_its_run(
    run: Path, tmp_path: Path, use_worker: UseWorker
) -> None:
    use_worker(fakes.exporting(), fakes.FOREVER)
    export_elsewhere(run, own_lock())
    session = Session()
    take_up(session)
    assert session.is_exporting
    assert (session.doing, session.work_that_goes_on, session.at_work) == ("", [], [])
    assert work_status(session) == "▸ exporting"
    session.show_run(read_run(run))
    assert not session.can_resume
    failed = TaskFailed("resources", "It was killed.", "", "log")
    other = fakes.write_run(tmp_path / "other", [*fakes.running(), failed])
    session.show_run(read_run(other))
    assert session.can_resume
    assert not session.can_export  # one export at a time
    train(session, run)
    assert (session.doing, session.work_that_goes_on) == ("training", ["training"])
    assert work_status(session) == "▸ starting"


def test_an_export_whose_command_is_gone_holds_up_work(run: Path, use_worker: UseWorker) -> None:
    use_worker(fakes.exporting(), fakes.FOREVER)
    export_elsewhere(run, Lock(own_lock().pid, 1.0))  # a process that began long before this one
    session = Session()
    take_up(session)
    assert session.doing == "exporting"
    assert session.work_that_goes_on == ["export"]


@pytest.mark.parametrize("name", ["link", "elsewhere/../run"])
def test_a_run_is_the_same_by_whatever_name_it_is_opened(
    run: Path, tmp_path: Path, use_worker: UseWorker, name: str
) -> None:
    use_worker([])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(run, target_is_directory=True)
    fakes.write_bundle(run / "bundle")
    session = Session()
    session.attach(tmp_path / name)
    export(session, run)
    assert session.bundle is not None
    assert session.shows(run)
    assert not session.shows(tmp_path / "elsewhere")
    session.forget_run(run)
    assert (session.run, session.export, session.bundle) == (None, None, None)


def test_a_run_that_an_export_reads_or_writes_into_is_in_its_hands_by_any_name(
    run: Path, tmp_path: Path, use_worker: UseWorker
) -> None:
    use_worker(fakes.exporting(), fakes.FOREVER)
    (tmp_path / "link").symlink_to(run, target_is_directory=True)
    other = fakes.write_run(tmp_path / "other", fakes.finished())
    third = fakes.write_run(tmp_path / "third", fakes.finished())
    session = Session()
    destination = str(other / "bundle")
    session.start_export(ExportTask(str(tmp_path / "link"), destination, "one"))
    assert [session.is_exported(each) for each in (run, other, third)] == [True, True, False]
    session.cancel_export()


@pytest.mark.parametrize("is_anothers", [False, True])
def test_what_another_terminal_exports_takes_no_bundle_away_that_one_talks_to(
    tmp_path: Path, is_anothers: bool
) -> None:
    mine, written = tmp_path / "mine", tmp_path / "written"
    export = ExportState(ExportTask("run", str(written), "new"), is_anothers=is_anothers)
    for event in fakes.exported(written):
        export.add(event)
    open_, none, same = Talk(mine), Talk(None), Talk(tmp_path / "x" / ".." / "written")
    for talk in (open_, none, same):
        talk.take_export(export)
    assert open_.opened == ((mine, 0) if is_anothers else (written, 1))
    assert none.opened == same.opened == (written, 1)
    assert (none.prompt, same.prompt) == ("new", "new")


def test_what_ends_between_two_looks_is_taken_in_all_the_same(
    run: Path, tmp_path: Path, use_worker: UseWorker
) -> None:
    """Its last event is read while its process still ends; the next look finds it gone."""
    bundle = fakes.write_bundle(tmp_path / "bundle")
    use_worker(fakes.exported(bundle), fakes.FOREVER)
    earlier = Session()
    export(earlier, run)
    use_worker([*fakes.comparing(), TaskFinished(30.0)], fakes.FOREVER)
    compare(earlier, run)
    session = Session()
    take_up(session)
    assert session.export is not None
    assert session.comparison.table is not None
    both = [session.export, session.comparison.table]
    deadline = time.monotonic() + 30
    while not all(followed.state.task.is_over for followed in both):
        assert time.monotonic() < deadline
        session.poll()
        time.sleep(0.02)
    assert session.is_exporting
    assert session.comparison.is_making_table
    write_result(session.comparison.table.job.folder / EVALUATION_FILE, evaluation())
    for followed in both:
        followed.job.kill()
    while session.is_exporting or session.comparison.is_making_table:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    session.poll()
    assert session.bundle == bundle
    assert session.comparison.made is not None
    assert session.poll() is False


def test_a_table_that_cannot_be_begun_does_not_show_the_last_one_as_its_own(
    run: Path, use_worker: UseWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker([*fakes.comparing(), TaskFinished(30.0)])
    session = Session()
    compare(session, run)
    table = session.comparison.table
    assert table is not None
    write_result(table.job.folder / EVALUATION_FILE, evaluation())
    deadline = time.monotonic() + 30
    while session.comparison.made is None:
        assert time.monotonic() < deadline
        session.poll()
        time.sleep(0.02)

    def full(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(jobs, "start", full)
    with pytest.raises(OSError, match="no room"):
        session.comparison.start_table(CompareTask(Lineup(bundle="b"), None, "ptune eval b"))
    session.poll()
    assert session.comparison.made is None
    assert session.comparison.num_made == 1
