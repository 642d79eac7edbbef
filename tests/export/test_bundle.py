"""A bundle is whole or refused, and an export that fails leaves nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest

from export import graphs, parity, space
from export.at_once import written_at_once
from export.bundle import hash_file, read_manifest, write_manifest
from export.errors import BundleError, ExportError, ParityError
from export.manifest import Manifest
from export.manifest_file import MANIFEST
from export.rotary import RotaryTable
from export.runtime import Bundle
from export.template import CHAT, ModelTexts, Template
from ptune_tui.events import Notice
from ptune_tui.tasks import ExportTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from tests.export.conftest import Exported


def flip_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def use_everything(folder: Path) -> None:
    for precision in ("fast", "exact"):
        Bundle.open(folder, precision).tuned().answer("the cat")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "model.onnx",
        "exact.onnx",
        "model.data",
        "plain_tokenizer.json",
        "prompts/mine.safetensors",
        "prompts/mine.kv.safetensors",
    ],
)
def test_one_changed_byte_anywhere_is_refused(copied: Path, name: str) -> None:
    use_everything(copied)
    flip_one_byte(copied / name)
    with pytest.raises(BundleError, match="was changed") as caught:
        use_everything(copied)
    assert name in caught.value.message.replace("\\", "/")


@pytest.mark.parametrize("name", ["throughput.onnx", "throughput.data", "model.data"])
def test_one_changed_byte_of_throughput_is_refused(
    exported_throughput: Exported, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(exported_throughput.bundle, tmp_path / "copied"))
    assert Bundle.open(folder).precision == "throughput"
    flip_one_byte(folder / name)
    with pytest.raises(BundleError, match="was changed"):
        Bundle.open(folder)


@pytest.mark.parametrize("name", ["model.data", "prompts/mine.safetensors"])
def test_a_missing_file_or_a_link_is_refused(copied: Path, name: str) -> None:
    path = copied / name
    elsewhere = copied.parent / "elsewhere"
    path.rename(elsewhere)
    with pytest.raises(BundleError, match="missing or a link"):
        use_everything(copied)
    path.symlink_to(elsewhere)
    with pytest.raises(BundleError, match="missing or a link"):
        use_everything(copied)


def change_manifest(folder: Path, change: Callable[[dict], None]) -> None:
    """Change what the manifest says and sign it again, as a careful attacker would."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with contextlib.suppress(msgspec.MsgspecError):
        write_manifest(folder, msgspec.json.decode(path.read_bytes(), type=Manifest))


def test_a_changed_word_in_the_manifest_is_refused(copied: Path) -> None:
    path = copied / "manifest.json"
    path.write_text(path.read_text().replace('"bad red"', '"bad rex"'))
    with pytest.raises(BundleError, match="its checksum is another one"):
        Bundle.open(copied)


def test_a_manifest_may_be_spaced_otherwise(copied: Path) -> None:
    path = copied / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=7))
    assert Bundle.open(copied).tuned().answer("the cat")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema=99), "schema version 99"),
        (lambda m: m["files"].update({"../x": m["files"]["model.data"]}), "outside the bundle"),
        (lambda m: m["files"].update({"/x": m["files"]["model.data"]}), "outside the bundle"),
        (lambda m: m.pop("prompts"), "damaged"),
        (lambda m: m["files"].pop("model.data"), "no hash"),
        (lambda m: m["golden"]["top_logits"]["fast"].__setitem__(0, 1e4), "other logits"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    copied: Path, change: Callable[[dict], None], message: str
) -> None:
    change_manifest(copied, change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(copied, "fast")


def test_a_graph_of_a_newer_opset_is_refused_in_a_sentence(copied: Path) -> None:
    path = copied / "model.onnx"
    graph = onnx.load(path, load_external_data=False)
    for entry in graph.opset_import:
        if not entry.domain:
            entry.version = 99
    path.write_bytes(graph.SerializeToString())
    record = msgspec.to_builtins(hash_file(path))
    change_manifest(copied, lambda manifest: manifest["files"].update({"model.onnx": record}))
    with pytest.raises(BundleError, match="cannot load"):
        Bundle.open(copied, "fast")


def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        read_manifest(tmp_path)
    with pytest.raises(BundleError, match="There is no folder"):
        read_manifest(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="damaged"):
        read_manifest(tmp_path)


def run_export(made: Exported, destination: Path, precision: str = "auto") -> None:
    task = ExportTask(str(made.run), str(destination), "mine", precision)  # type: ignore[arg-type]
    list(export(task, Channel(made.run)))


def test_an_export_that_fails_the_gate_leaves_nothing(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "EXACT_RELATIVE_ERROR", 0.0)
    with pytest.raises(ParityError, match="`exact` does not compute"):
        run_export(exported, tmp_path / "bundle")
    assert list(tmp_path.glob("*bundle*")) == []
    assert list(tmp_path.glob(".*bundle*")) == []


def test_a_graph_that_computes_something_else_does_not_pass(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = graphs.rotary_tables

    def shrunken(*arguments: Any) -> dict[str, RotaryTable]:
        tables = real(*arguments)
        return {name: RotaryTable(t.cos * 0.97, t.sin * 0.97) for name, t in tables.items()}

    monkeypatch.setattr(graphs, "rotary_tables", shrunken)
    with pytest.raises(ParityError):
        run_export(exported, tmp_path / "bundle")


def test_auto_falls_back_to_exact_where_fast_does_not_pass(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "MAX_KL_DIVERGENCE", 0.0)
    run_export(exported, tmp_path / "bundle")
    manifest = read_manifest(tmp_path / "bundle")
    assert manifest.default_precision == "exact"
    assert not manifest.parity["fast"].passed
    with pytest.raises(ParityError, match="`fast` does not compute"):
        run_export(exported, tmp_path / "other", "fast")
    assert not (tmp_path / "other").exists()


def test_an_export_says_why_the_base_takes_no_chats(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: ModelTexts, *given: Any, **named: Any) -> Template:
        return Template(CHAT, "{{ messages + 1 }}")

    monkeypatch.setattr(ModelTexts, "template", broken)
    task = ExportTask(str(exported.run), str(tmp_path / "bundle"), "mine", "exact")
    events = list(export(task, Channel(exported.run)))
    (notice,) = (e for e in events if isinstance(e, Notice) and e.code == "no-base-chat")
    assert "chat template fails: TypeError" in notice.message
    assert "--template" not in notice.hint
    assert read_manifest(tmp_path / "bundle").base_template is None


def test_too_little_disk_is_said_before_anything_is_written(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ExportError, match="MB free") as caught:
        run_export(exported, tmp_path / "bundle")
    assert caught.value.category == "resources"
    assert list(tmp_path.glob("*bundle*")) == []


def test_a_folder_that_is_there_is_kept_unless_it_is_a_bundle_to_replace(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("keep")
    for overwrite in (False, True):
        with (
            pytest.raises(BundleError, match="already there"),
            written_at_once(taken, overwrite, MANIFEST),
        ):
            pass
    assert (taken / "mine.txt").read_text() == "keep"
    (taken / "manifest.json").write_text("{}")
    with written_at_once(taken, True, MANIFEST) as part:
        (part / "new").write_text("x")
    assert [path.name for path in taken.iterdir()] == ["new"]


def test_a_bundle_between_two_renames_comes_back_before_it_is_written_anew(tmp_path: Path) -> None:
    aside, taken = tmp_path / ".bundle.old.part", tmp_path / "bundle"
    aside.mkdir()
    (aside / "manifest.json").write_text("{}")
    with (
        pytest.raises(BundleError, match="already there"),
        written_at_once(taken, False, MANIFEST),
    ):
        pass
    assert (taken / "manifest.json").is_file()
    (tmp_path / ".bundle.1.part").mkdir()
    with written_at_once(taken, True, MANIFEST) as part:
        (part / "new").write_text("x")
    assert [path.name for path in tmp_path.rglob("*")] == ["bundle", "new"]


def test_a_writer_that_fails_halfway_keeps_the_old_bundle(tmp_path: Path) -> None:
    old = tmp_path / "bundle"
    old.mkdir()
    (old / "manifest.json").write_text("{}")

    def fail() -> None:
        with written_at_once(old, True, MANIFEST) as part:
            (part / "half").write_text("x")
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (old / "manifest.json").is_file()
