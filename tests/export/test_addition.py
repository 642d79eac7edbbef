"""A second prompt joins a bundle: both answer as they would alone, or nothing changes."""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest

from export import addition, parity
from export.bundle import read_manifest, write_manifest
from export.errors import BundleError, ParityError
from export.manifest_file import MANIFEST
from export.runtime import Bundle
from export.template import Template
from ptune_tui.tasks import ExportPrecision, ExportTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from tests.export.conftest import Exported

TEXTS = ("the cat", "where is my dog?", "red", "")


def add(made: Exported, bundle: Path, name: str = "second", *, overwrite: bool = False) -> None:
    task = ExportTask(str(made.run), str(bundle), name, overwrite=overwrite, is_addition=True)
    list(export(task, Channel(made.run)))


def digests(bundle: Path) -> dict[str, str]:
    return {
        path.relative_to(bundle).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.rglob("*")
        if path.is_file()
    }


def scores(bundle: Path, name: str) -> list[dict[str, float]]:
    answerer = Bundle.open(bundle, "exact", num_threads=1).tuned(name)
    return [answerer.label_scores(text) for text in TEXTS]


def test_both_prompts_answer_as_they_do_alone(
    copied: Path, exported: Exported, exported_prefix: Exported
) -> None:
    before = digests(copied)
    add(exported_prefix, copied)
    after = digests(copied)
    told = {"manifest.json", "README.md"}
    assert {name: after[name] for name in before if name not in told} == {
        name: digest for name, digest in before.items() if name not in told
    }
    assert scores(copied, "mine") == scores(exported.bundle, "mine")
    assert scores(copied, "second") == scores(exported_prefix.bundle, "mine")
    assert scores(copied, "second") != scores(copied, "mine")
    record = read_manifest(copied).prompts["second"]
    assert record.parity["exact"].identical_texts == record.parity["exact"].num_texts == 20


def test_prompts_of_one_open_bundle_take_turns(copied: Path, exported_prefix: Exported) -> None:
    add(exported_prefix, copied)
    bundle = Bundle.open(copied, "exact", num_threads=1)
    with pytest.raises(BundleError, match="has 2 prompts") as caught:
        bundle.tuned()
    assert "`--prompt` on the command line: mine, second" in caught.value.hint
    first, second = bundle.tuned("mine"), bundle.tuned("second")
    alone = [first.label_scores("the cat"), second.label_scores("the cat")]
    again = [first.label_scores("the cat"), second.label_scores("the cat")]
    assert again == alone


def test_a_taken_name_is_refused_and_overwriting_replaces_its_files(
    copied: Path, exported: Exported, exported_prefix: Exported
) -> None:
    before = digests(copied)
    with pytest.raises(BundleError, match="has a prompt named 'mine' already"):
        add(exported_prefix, copied, "mine")
    assert digests(copied) == before
    add(exported_prefix, copied, "mine", overwrite=True)
    manifest = read_manifest(copied)
    assert list(manifest.prompts) == ["mine"]
    assert {*manifest.files, "manifest.json", "README.md"} == set(digests(copied))
    assert scores(copied, "mine") == scores(exported_prefix.bundle, "mine")


def test_names_whose_files_would_be_the_same_are_kept_apart(
    copied: Path, exported: Exported, exported_prefix: Exported
) -> None:
    add(exported_prefix, copied, "mine.kv")
    assert scores(copied, "mine") == scores(exported.bundle, "mine")
    assert scores(copied, "mine.kv") == scores(exported_prefix.bundle, "mine")


def test_a_prompt_of_other_weights_is_refused(copied: Path, exported_prefix: Exported) -> None:
    manifest = read_manifest(copied)
    write_manifest(copied, msgspec.structs.replace(manifest, weights_hash="0" * 64))
    before = digests(copied)
    with pytest.raises(BundleError, match="trained on other weights") as caught:
        add(exported_prefix, copied)
    assert "--out" in caught.value.hint
    assert digests(copied) == before


def test_a_prompt_that_fails_the_gate_changes_nothing(
    copied: Path, exported_prefix: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(copied)
    monkeypatch.setattr(parity, "EXACT_RELATIVE_ERROR", 0.0)
    with pytest.raises(ParityError):
        add(exported_prefix, copied)
    assert digests(copied) == before


def test_a_disk_that_fills_up_at_the_last_moment_changes_nothing(
    copied: Path, exported_prefix: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = digests(copied)
    monkeypatch.setattr(addition, "write_manifest", full)
    with pytest.raises(OSError, match="No space"):
        add(exported_prefix, copied, "mine", overwrite=True)
    assert digests(copied) == before
    assert scores(copied, "mine")


def test_a_prompt_that_fails_fast_makes_the_bundle_answer_exactly(
    copied: Path, exported_prefix: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_manifest(copied).default_precision == "fast"
    monkeypatch.setattr(parity, "MAX_KL_DIVERGENCE", 0.0)
    add(exported_prefix, copied)
    assert read_manifest(copied).default_precision == "exact"


def test_a_damaged_bundle_gets_no_prompt(copied: Path, exported_prefix: Exported) -> None:
    (copied / "model.data").write_bytes((copied / "model.data").read_bytes()[:-1])
    with pytest.raises(BundleError, match="was changed"):
        add(exported_prefix, copied)


def test_a_bundle_of_an_older_version_gets_the_bases_chat_template(
    copied: Path, exported_prefix: Exported
) -> None:
    manifest = read_manifest(copied)
    assert isinstance(manifest.base_template, Template)
    write_manifest(copied, msgspec.structs.replace(manifest, base_template=msgspec.UNSET))
    assert "base_template" not in (copied / MANIFEST).read_text()
    add(exported_prefix, copied)
    assert read_manifest(copied).base_template == manifest.base_template


def add_in(made: Exported, bundle: Path, precision: ExportPrecision, name: str = "second") -> None:
    task = ExportTask(str(made.run), str(bundle), name, precision, is_addition=True)
    list(export(task, Channel(made.run)))


def test_a_prompt_joins_a_bundle_that_answers_in_throughput(
    exported_throughput: Exported, exported_prefix: Exported, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(exported_throughput.bundle, tmp_path / "copied"))
    add(exported_prefix, bundle)
    manifest = read_manifest(bundle)
    assert manifest.default_precision == "throughput"
    assert set(manifest.prompts["second"].prefixes) == {"fast", "exact", "throughput"}
    tuned = Bundle.open(bundle, num_threads=1).tuned("second")
    assert [found.label for found in tuned.classify_rows(TEXTS)] == [
        tuned.classify(text).label for text in TEXTS
    ]


def test_a_precision_without_a_graph_is_refused_before_anything_is_measured(
    copied: Path, exported_prefix: Exported
) -> None:
    before = digests(copied)
    with pytest.raises(BundleError, match="no graph of the precision `throughput`") as caught:
        add_in(exported_prefix, copied, "throughput")
    assert "exact, fast" in caught.value.hint
    assert digests(copied) == before


def test_the_precision_that_is_asked_for_becomes_the_bundles(
    copied: Path, exported_prefix: Exported
) -> None:
    add_in(exported_prefix, copied, "exact")
    assert read_manifest(copied).default_precision == "exact"
    add_in(exported_prefix, copied, "fast", "third")
    assert read_manifest(copied).default_precision == "fast"


def test_a_precision_that_another_prompt_failed_in_is_refused(
    copied: Path, exported_prefix: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setattr(parity, "MAX_KL_DIVERGENCE", 0.0)
        add(exported_prefix, copied)
    with pytest.raises(BundleError, match="cannot answer in `fast`: second did not pass"):
        add_in(exported_prefix, copied, "fast", "third")


@pytest.mark.parametrize("name", ["model.onnx", "model.data"])
def test_a_bundle_whose_graph_or_data_have_no_hash_gets_no_prompt(
    copied: Path, exported_prefix: Exported, name: str
) -> None:
    manifest = read_manifest(copied)
    files = {file: record for file, record in manifest.files.items() if file != name}
    write_manifest(copied, msgspec.structs.replace(manifest, files=files))
    with pytest.raises(BundleError, match=f"names '{name}' but has no hash"):
        add(exported_prefix, copied)
