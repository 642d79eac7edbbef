"""What goes when a run is deleted, and what stays."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from ptune_tui.config import RunConfig, dump
from ptune_tui.errors import UsageError
from ptune_tui.paths import runs_folder
from ptune_tui.run_files import delete_run, run_files
from ptune_tui.run_index import remember_run
from ptune_tui.run_listing import RunListing
from ptune_tui.tui.run_look import Looks
from ptune_tui.tui.widgets.run_details import belongings
from tests.tui import fakes

FOREIGN = {
    "transformers/x": "mine",
    "onnx/y": "mine",
    "gguf/ptune.json": "{}",
    "bundle/manifest.json": '{"manifest_version": 3, "name": "an extension"}',
    "adapter/adapter_config.json": "{}",
    "checkpoints/last/model.pt": "mine",
    "evaluations/mine.json": "[]",
    "config.toml": '[tool]\nname = "mine"\n',
    "evaluation.json": "{}",
    "report.html": "<!doctype html><p>mine",
}


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_deleting_a_run_elsewhere_leaves_foreign_files_of_a_run_s_names(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "project", [])
    for name, text in FOREIGN.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    assert set(run_files(run).foreign) == {name.split("/")[0] for name in FOREIGN}
    delete_run(run)
    assert files_in(run) == FOREIGN.keys()
    assert (run / "transformers" / "x").read_text() == "mine"


def test_deleting_a_run_elsewhere_takes_all_that_is_its_own(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    fakes.write_bundle(run / "bundle")
    for name in ("transformers", "onnx", "gguf"):
        (run / name).mkdir()
        mark = {"format": name, "weights_hash": "0", "prompt": "p"}
        (run / name / "ptune.json").write_bytes(msgspec.json.encode(mark))
        (run / name / "model").write_text("large")
    for name in ("state.json", "state.safetensors"):
        for state in ("last", "previous"):
            (run / "checkpoints" / state).mkdir(parents=True, exist_ok=True)
            (run / "checkpoints" / state / name).write_text("{}")
    (run / "config.toml").write_text(dump(RunConfig()))
    (run / "probes.json").write_text('["a text"]')
    (run / "report.html").write_text("<!doctype html>\n<!-- report of ptune -->")
    assert run_files(run).foreign == []
    assert run_files(run).num_bytes == sum((run / name).stat().st_size for name in files_in(run))
    delete_run(run)
    assert not run.exists()


def test_the_question_names_and_counts_only_what_goes(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "project", fakes.finished())
    (run / "transformers").mkdir()
    (run / "transformers" / "x").write_bytes(bytes(5_000_000))
    told = belongings(Looks().look([run])[run])
    assert "adapter" in told
    assert "What else is there stays: transformers." in told
    assert "MiB" not in told
    run = fakes.write_run(runs_folder() / "run", fakes.finished())
    assert belongings(Looks().look([run])[run]).startswith("All its files go with it")


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_a_run_that_cannot_be_deleted_stays_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_elsewhere: bool
) -> None:
    run = fakes.write_run(tmp_path / "far" if is_elsewhere else runs_folder() / "near", [])
    remember_run(run)
    fakes.write_bundle(run / "bundle")

    def refuse(_: Path) -> None:
        raise PermissionError("no")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refuse)
        with pytest.raises(PermissionError):
            delete_run(run)
    assert [each.path for each in RunListing().read()] == [run]
    delete_run(run)
    assert not run.exists()


def test_a_run_behind_a_link_is_deleted_where_it_lies(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", [])
    (run / "notes").write_text("mine")
    runs_folder().mkdir(parents=True)
    os.symlink(run, runs_folder() / "linked")
    remember_run(run)
    assert len(RunListing().folders()) == 1
    delete_run(runs_folder() / "linked")
    assert files_in(run) == {"notes"}


def test_a_worked_on_run_stays_whole(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.beginning(), is_held=True)
    before = files_in(run)
    with pytest.raises(UsageError):
        delete_run(run)
    assert files_in(run) == before
