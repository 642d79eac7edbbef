"""Folders as data sets: saved by `datasets`, or files side by side; and those of the hub."""

from __future__ import annotations

import gzip
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ptune_tui.config import DataConfig
from ptune_tui.data import load_data
from ptune_tui.errors import DataError, ResourceError, UsageError
from ptune_tui.reading import hub_sets
from ptune_tui.reading.records import iter_records
from ptune_tui.reading.source import absolute, files_of, is_known, parted
from ptune_tui.rows import read_rows

LINE = '{"prompt": "PROMPT", "response": "a"}\n'


def write(folder: Path, *names: str) -> Path:
    """Files of two rows each, which say where they come from."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LINE.replace("PROMPT", f"{name} 1") + LINE.replace("PROMPT", f"{name} 2"))
    return folder


def prompts(name: object) -> list[str]:
    return [str(record.fields["prompt"]) for record in iter_records(Path(str(name)))]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits that `datasets` saved, the first in two files."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    parts = {
        name: datasets.Dataset.from_dict(
            {
                "sentence": [f"{name} {n}" for n in range(count)],
                "label": [n % 2 for n in range(count)],
            },
            features=features,
        )
        for name, count in (("train", 40), ("validation", 6), ("test", 4))
    }
    folder: Path = tmp_path_factory.mktemp("saved") / "set"
    datasets.DatasetDict(parts).save_to_disk(
        folder, num_shards={"train": 2, "validation": 1, "test": 1}
    )
    return folder


def test_a_saved_data_set_gives_its_rows_in_order_with_names_of_labels(saved: Path) -> None:
    rows = read_rows(saved / "train", DataConfig())
    assert [row.prompt for row in rows] == [f"train {n}" for n in range(40)]
    assert [row.response for row in rows] == ["no", "yes"] * 20
    assert rows[20].source.endswith("data-00001-of-00002.arrow")
    assert rows[20].line == 1


def test_training_takes_the_training_split_and_validates_on_its_own(saved: Path) -> None:
    data = load_data(DataConfig(train=str(saved)), seed=0)
    assert (len(data.train), len(data.validation)) == (40, 6)
    assert data.labels == ["no", "yes"]
    assert data.about == (
        "set:train: input: `sentence`; answer: `label`",
        "set:validation: input: `sentence`; answer: `label`",
    )
    assert len(read_rows(Path(f"{saved}:test"), DataConfig())) == 4
    with pytest.raises(DataError, match="has the splits `train`, `validation`, `test`"):
        read_rows(saved, DataConfig())
    with pytest.raises(DataError, match="has no split `dev`"):
        read_rows(Path(f"{saved}:dev"), DataConfig())


def test_a_saved_data_set_without_one_of_its_files_is_refused(saved: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(saved / "train", copy)
    (copy / "data-00000-of-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"names data-00000-of-00002\.arrow, which is not there"):
        files_of(str(copy))


def test_shuffled_rows_are_saved_as_they_are_seen(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    shuffled = datasets.Dataset.from_dict({"text": [str(n) for n in range(50)]}).shuffle(seed=3)
    shuffled.select(range(30)).save_to_disk(tmp_path / "set")
    found = [record.fields["text"] for record in iter_records(tmp_path / "set")]
    assert found == shuffled["text"][:30]


def test_numbered_pieces_are_one_data_set(tmp_path: Path) -> None:
    first, second = "x-00000-of-00002.jsonl", "x-00001-of-00002.jsonl"
    write(tmp_path, second, first, ".hidden.jsonl", "README.md", "dataset_info.json")
    assert prompts(tmp_path) == [f"{first} 1", f"{first} 2", f"{second} 1", f"{second} 2"]


def test_names_of_files_and_folders_tell_splits(tmp_path: Path) -> None:
    write(
        tmp_path,
        *("data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl", "test/x.jsonl"),
        *("dev.jsonl", "test_refs.jsonl"),
    )
    assert prompts(f"{tmp_path}:train") == [
        "data/train-00000-of-00002.jsonl 1",
        "data/train-00000-of-00002.jsonl 2",
        "data/train-00001-of-00002.jsonl 1",
        "data/train-00001-of-00002.jsonl 2",
    ]
    assert prompts(f"{tmp_path}:test") == ["test/x.jsonl 1", "test/x.jsonl 2"]
    data = load_data(DataConfig(train=str(tmp_path)), seed=0)
    assert [row.prompt for row in data.validation] == ["dev.jsonl 1", "dev.jsonl 2"]


def test_what_may_be_the_same_rows_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", "train.csv")
    with pytest.raises(DataError, match=r"`\.csv` and `\.jsonl` files of the split `train`"):
        files_of(f"{tmp_path}:train")
    write(tmp_path / "glue", "cola/train.jsonl", "sst2/train.jsonl")
    with pytest.raises(DataError, match="2 data sets: `cola`, `sst2`") as caught:
        files_of(str(tmp_path / "glue"))
    assert caught.value.hint.endswith("glue/cola")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no data files"):
        files_of(str(tmp_path / "empty"))


def test_a_path_with_a_colon_is_a_path(tmp_path: Path) -> None:
    path = write(tmp_path, "a:b.jsonl") / "a:b.jsonl"
    assert parted(str(path)) == (str(path), None)
    assert len(prompts(path)) == 2


def test_a_relative_folder_with_a_split_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "set/train.jsonl")
    monkeypatch.chdir(tmp_path)
    assert absolute("set:train") == f"{tmp_path}/set:train"
    assert absolute("set/train.jsonl") == f"{tmp_path}/set/train.jsonl"
    assert absolute("owner/name:train") == "owner/name:train"


class Hub:
    """A hub in a folder, in the place of the package's calls."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.package = pytest.importorskip("huggingface_hub")
        self.folder = folder
        self.downloads: list[list[str]] = []
        monkeypatch.setattr(self.package, "HfApi", lambda: self)
        monkeypatch.setattr(self.package, "snapshot_download", self.snapshot_download)

    def dataset_info(self, hub_id: str, revision: str | None) -> SimpleNamespace:
        root = self.folder / hub_id / (revision or "main").replace("/", "-")
        names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
        return SimpleNamespace(
            sha=str(root), siblings=[SimpleNamespace(rfilename=name) for name in names]
        )

    def snapshot_download(self, _: str, **options: Any) -> None:
        assert options["repo_type"] == "dataset"
        self.downloads.append(sorted(options["allow_patterns"]))
        for name in options["allow_patterns"]:
            target = options["local_dir"] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(options["revision"]) / name, target)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("PTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return Hub(tmp_path / "hub", monkeypatch)


def test_a_hub_data_set_is_fetched_once_and_only_the_named_split(hub: Hub) -> None:
    write(hub.folder / "owner/name/main", "train.jsonl", "test.jsonl", "script.py", "train.csv")
    assert prompts("owner/name:test") == ["test.jsonl 1", "test.jsonl 2"]
    assert hub.downloads == [["test.jsonl"]]
    data = load_data(DataConfig(train="owner/name"), seed=0)
    assert len(data.train) + len(data.validation) == 2
    assert hub.downloads[1:] == [["test.jsonl", "train.jsonl"]]
    assert prompts("owner/name:train") == ["train.jsonl 1", "train.jsonl 2"]
    assert len(hub.downloads) == 2
    with pytest.raises(DataError, match="has no split `dev`"):
        prompts("owner/name:dev")


def test_a_part_of_a_hub_data_set_is_named_behind_it(hub: Hub) -> None:
    write(hub.folder / "owner/name/main", "a/train.jsonl", "b/train.jsonl")
    with pytest.raises(DataError, match="holds 2 data sets: `a`, `b`") as caught:
        prompts("owner/name")
    assert caught.value.hint == "Name one of them: owner/name/a"
    assert prompts("owner/name/b:train") == ["b/train.jsonl 1", "b/train.jsonl 2"]


def test_what_the_hub_converted_is_taken_where_there_is_nothing_else(hub: Hub) -> None:
    write(hub.folder / "owner/name/main", "loader.py")
    write(hub.folder / "owner/name/refs-convert-parquet", "default/train/0000.jsonl")
    assert len(prompts("owner/name")) == 2
    write(hub.folder / "owner/none/main", "weights.bin")
    with pytest.raises(DataError, match="holds no Parquet, JSON or CSV files"):
        prompts("owner/none")


def test_without_the_hub_the_reason_is_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "dataset_info", unreachable)
    with pytest.raises(ResourceError, match=r"owner/name here.*no route to host"):
        prompts("owner/name")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ResourceError, match="HF_HUB_OFFLINE is set"):
        prompts("owner/name")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="`huggingface_hub` is not installed"):
        prompts("owner/name")
    with pytest.raises(DataError, match=r"There is no data file data/missing\.jsonl"):
        prompts("data/missing.jsonl")


def test_a_split_is_a_word_anywhere_in_a_file_s_name(tmp_path: Path) -> None:
    write(tmp_path, "my_train.jsonl", "my_test.jsonl", "my-validation.jsonl")
    data = load_data(DataConfig(train=str(tmp_path)), seed=0)
    assert [row.prompt for row in data.train] == ["my_train.jsonl 1", "my_train.jsonl 2"]
    assert [row.prompt for row in data.validation] == [
        "my-validation.jsonl 1",
        "my-validation.jsonl 2",
    ]
    other = write(tmp_path / "other", "training.jsonl", "x_testing.jsonl")
    assert prompts(f"{other}:train") == ["training.jsonl 1", "training.jsonl 2"]
    assert prompts(f"{other}:test") == ["x_testing.jsonl 1", "x_testing.jsonl 2"]


def test_files_that_nobody_said_belong_together_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "reviews.jsonl", "reviews_clean.jsonl")
    with pytest.raises(DataError, match="2 files whose names tell no split") as caught:
        files_of(str(tmp_path))
    assert "Name one file" in str(caught.value.hint)
    mixed = write(tmp_path / "mixed", "a-00000-of-00001.jsonl", "b-00000-of-00001.jsonl")
    with pytest.raises(DataError, match="tell no split"):
        files_of(str(mixed))


def test_a_file_has_no_splits_to_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "all.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"all\.jsonl:test"):
        files_of("data/all.jsonl:test")


def test_packed_files_in_upper_case_belong_to_their_split(tmp_path: Path) -> None:
    for name in ("train.jsonl.GZ", "test.jsonl.gz"):
        content = LINE.replace("PROMPT", name)
        (tmp_path / name).write_bytes(gzip.compress(content.encode()))
    assert prompts(f"{tmp_path}:train") == ["train.jsonl.GZ"]
    assert prompts(f"{tmp_path}:test") == ["test.jsonl.gz"]


def test_a_mistyped_path_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="There is no data file data/reviews"):
        files_of("data/reviews")
    with pytest.raises(ResourceError, match="HF_HUB_OFFLINE"):  # set for all tests
        files_of("somebody/reviews")


def test_a_downloaded_set_is_read_whatever_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "somebody").mkdir()
    rows = tmp_path / "cache"
    rows.mkdir()
    (rows / "train.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    monkeypatch.setattr(hub_sets, "cached", lambda name, _: rows if "reviews" in name else None)
    assert files_of("somebody/reviews") == [rows / "train.jsonl"]
    assert is_known("somebody/reviews")
    assert not is_known("somebody/others")
