"""What the pages of Setup offer, and what they say of it, without a terminal."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pandas
import pytest

from ptune_tui.config import DataConfig, RunConfig
from ptune_tui.errors import UsageError
from ptune_tui.tasks import TASK_FILE, TrainTask, write_task
from ptune_tui.tui import data_look
from ptune_tui.tui.data_choice import data_rows, look_lines
from ptune_tui.tui.data_look import look_at
from ptune_tui.tui.folder_entries import entries_of
from ptune_tui.tui.model_choice import describe_model, is_model_folder, model_rows
from ptune_tui.tui.path_completion import is_data_file, is_model_file
from ptune_tui.tui.preset_form import data_size
from ptune_tui.tui.screens.earlier_prompt import prompt_folders
from ptune_tui.tui.screens.files import beside
from tests.tui import fakes


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_look_counts_rows_and_labels_as_pandas_does() -> None:
    look = look_at(DataConfig())
    folder = Path(data_look.__file__).parents[1] / "builtin_data" / "support_inbox"
    table = pandas.read_json(folder / "train.jsonl", lines=True)
    assert (look.num_rows, look.is_whole) == (len(table), True)
    assert dict(look.labels or ()) == table["response"].value_counts().to_dict()
    assert list(look.columns) == list(table.columns)
    assert look.validation == "its own"
    assert look.problem is None


@pytest.mark.parametrize(
    ("row", "changes", "shape"),
    [
        ({"prompt": "a", "response": "b"}, {}, "`prompt` -> `response`"),
        ({"headline": "a", "text": "b", "label": 1}, {}, "`text` -> `label`"),
        (
            {"instruction": "a", "input": "b", "output": "c"},
            {},
            "instructions: `instruction` and `input` -> `output`",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            {},
            "conversations in `messages`; the assistant's last turn is the answer",
        ),
        (
            {"title": "a", "body": "b", "label": "c"},
            {"template": "{{ title }}: {{ body }}"},
            "the template over `body`, `title` -> `label`",
        ),
        ({"x": "a", "y": "b"}, {"prompt_field": "x", "response_field": "y"}, "`x` -> `y`"),
    ],
)
def test_look_says_which_shape_was_recognised(
    row: dict[str, object], changes: dict[str, str], shape: str, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [row] * 3)
    look = look_at(DataConfig(train=str(path), **changes))  # type: ignore[arg-type]
    assert look.problem is None
    assert look.shape == shape
    assert look.validation == "a tenth of the different inputs, held out"


def test_look_keeps_the_columns_of_a_shape_that_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"x,y\nsome,other\n"))
    look = look_at(DataConfig(train=str(path)))
    assert look.columns == {"x": "some", "y": "other"}
    assert look.problem is not None
    assert look.problem.message.startswith(f"{path.as_posix()}:2: this row has no `prompt`")
    lines = look_lines(look)
    assert lines[0].startswith("✗ ")
    assert lines[-1] == "  y: other"


def test_look_names_the_line_of_a_broken_row(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"prompt": "a", "response": "b"}] * 4)
    path.write_text(path.read_text() + "{broken\n")
    look = look_at(DataConfig(train=str(path)))
    assert look.problem is not None
    assert f"{path.as_posix()}:5" in look.problem.message
    assert look_lines(look)[2] == "4 rows before it; `prompt` -> `response`"


def test_look_does_not_read_for_longer_than_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_look, "MAX_SECONDS", 0.0)
    monkeypatch.setattr(data_look, "BATCH", 2)
    rows: list[dict[str, object]] = [{"prompt": str(n), "response": str(n)} for n in range(9)]
    look = look_at(DataConfig(train=str(write_rows(tmp_path / "rows.jsonl", rows))))
    assert (look.num_rows, look.is_whole) == (2, False)
    assert look_lines(look)[0] == "2 rows, and more; `prompt` -> `response`"


def test_look_at_what_is_not_here_touches_no_network() -> None:
    look = look_at(DataConfig(train="owner/name"))
    assert look.problem is not None
    assert look.problem.message == "owner/name is not on this disk."
    assert "fetches" in look.problem.hint


def test_data_is_offered_from_the_app_earlier_runs_and_this_folder(
    home: Path, tmp_path: Path
) -> None:
    used = write_rows(tmp_path / "home" / "used.jsonl", []) if home.mkdir() is None else None
    write_task(home / "runs" / "one", TrainTask(RunConfig(data=DataConfig(train=str(used)))))
    gone = DataConfig(train=str(tmp_path / "gone.jsonl"))
    write_task(home / "runs" / "two", TrainTask(RunConfig(data=gone)))
    write_rows(tmp_path / "here.jsonl", [])
    (tmp_path / "notes.txt").write_text("")
    (home / "data" / "owner--name--split-train").mkdir(parents=True)
    write_task(home / "runs" / "damaged", TrainTask(RunConfig()))
    (home / "runs" / "damaged" / TASK_FILE).write_bytes(b'{"type": "\xff"}')
    assert [(row.source, row.origin) for row in data_rows()] == [
        ("support_inbox", "built in"),
        ("home_commands", "built in"),
        (str(used), "used before"),
        ("here.jsonl", "in this folder"),
        ("owner/name:train", "fetched before"),
    ]


def test_folder_shows_what_is_wanted_only(tmp_path: Path) -> None:
    model = tmp_path / "Model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_bytes(b"")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "b.gguf").write_bytes(b"abc")
    (tmp_path / "a.jsonl").write_bytes(b"")
    models = entries_of(tmp_path, is_model_file, is_model_folder).entries
    assert [(entry.path.name, entry.is_whole, entry.num_bytes) for entry in models] == [
        ("Model", True, 0),
        ("b.gguf", False, 3),
    ]
    data = entries_of(tmp_path, is_data_file, lambda _: False).entries
    assert [entry.path.name for entry in data] == ["Model", "a.jsonl"]
    assert beside(str(tmp_path / "a.jsonl")) == tmp_path
    assert beside("support_inbox") == Path.cwd()
    assert beside(str(tmp_path)) == Path.cwd()
    assert beside("../a.jsonl") == Path.cwd().parent
    assert beside("Model/../../a.jsonl") == Path.cwd().parent
    assert beside("~no-such-user/x") == Path.cwd()


def test_folder_shows_the_rest_where_an_entry_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "gone.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"")
    (tmp_path / "closed").mkdir()

    def is_whole(_: Path) -> bool:
        raise PermissionError

    found = entries_of(tmp_path, is_data_file, is_whole).entries
    assert [entry.path.name for entry in found] == ["b.jsonl"]


def test_models_of_one_name_and_links_to_nothing_leave_one_row(home: Path) -> None:
    (home / "models" / "a").mkdir(parents=True)
    for name in ("a.gguf", "a/a.gguf"):
        (home / "models" / name).write_bytes(b"GGUF")
    (home / "models" / "lost.gguf").symlink_to(home / "gone.gguf")
    sources = [row.source for row in model_rows(RunConfig())]
    assert sources.count("a") == 1
    assert len(set(sources)) == len(sources)
    assert "lost" not in sources


def test_look_at_a_set_for_validation_is_of_that_set(tmp_path: Path) -> None:
    for split, number in (("train", 9), ("validation", 4)):
        rows: list[dict[str, object]] = [{"prompt": str(n), "response": "b"} for n in range(number)]
        write_rows(tmp_path / f"{split}.jsonl", rows)
    held = DataConfig(train=f"{tmp_path}:validation")
    look = look_at(held, is_validation=True)
    assert (look.num_rows, look.validation) == (4, "")
    assert not any(line.startswith("validation") for line in look_lines(look))
    whole = look_at(DataConfig(train=str(tmp_path)), is_validation=True)
    assert whole.problem is not None  # as the run says it: which of the splits?
    assert "has the splits" in whole.problem.message
    assert look_at(DataConfig(train=str(tmp_path))).num_rows == 9


@pytest.mark.parametrize("split", ["", ":train"])
def test_look_and_size_follow_a_file_that_is_edited_inside_a_folder(
    split: str, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    data = DataConfig(train=f"{folder}{split}", validation="other")
    for number in (3, 5):
        rows: list[dict[str, object]] = [{"prompt": str(n), "response": "b"} for n in range(number)]
        path = write_rows(folder / "train.jsonl", rows)
        os.utime(path, ns=(number, number))
        os.utime(folder, ns=(1, 1))
        assert look_at(data).num_rows == number
        assert data_size(data).num_train_rows == number


def test_model_list_has_the_default_the_cache_and_the_catalogue(home: Path) -> None:
    cached = home / "models" / "HuggingFaceTB--SmolLM2-360M-Instruct"
    cached.mkdir(parents=True)
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2}
    config |= {"intermediate_size": 96, "vocab_size": 320, "num_attention_heads": 4}
    (cached / "config.json").write_text(json.dumps(config))
    (cached / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    rows = {row.source: row for row in model_rows(RunConfig())}
    default = rows["default"]
    assert (default.is_here, default.licence, default.num_parameters) == (
        False,
        "Apache-2.0",
        134_515_008,
    )
    own = rows["HuggingFaceTB/SmolLM2-360M-Instruct"]
    assert (own.is_here, own.licence) == (True, "apache-2.0")
    assert own.num_parameters is not None
    assert own.num_parameters < 1_000_000  # of its own files, not of the catalogue
    gated = rows["meta-llama/Llama-3.2-1B-Instruct"]
    assert (gated.is_here, gated.is_gated) == (False, True)
    assert all(row.fit.fit for row in rows.values())
    words = describe_model("meta-llama/Llama-3.2-1B-Instruct", RunConfig())
    assert words[:3] == [
        "It is fetched once, from the Hugging Face hub, when a run or a preview begins.",
        "Licence: Llama 3.2.",
        "Gated: accept its terms on the hub, then `hf auth login`.",
    ]


def test_earlier_prompts_are_runs_and_adapters(tmp_path: Path) -> None:
    run = fakes.write_run(tmp_path / "run", fakes.finished())
    adapter = tmp_path / "some" / "mine"
    adapter.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (adapter / name).write_text("{}")
    half = fakes.write_run(tmp_path / "half", fakes.running())  # killed before it was saved
    (half / "adapter" / "adapter_model.safetensors").unlink()
    page = prompt_folders("", lambda _: None)
    assert page.choosing.check_written(str(run)) == str(run)
    assert page.choosing.check_written(str(adapter)) == str(adapter)
    with pytest.raises(UsageError, match="holds no prompt"):
        page.choosing.check_written(str(tmp_path))
    with pytest.raises(UsageError, match="holds no prompt"):
        page.choosing.check_written(str(half))
