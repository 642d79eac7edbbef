"""`ptune run --json-schema` and `--json-object`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptune_tui.config import DataConfig
from tests.cli.conftest import Ptune
from tests.export.conftest import train_and_export


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, label_rows: Path) -> Path:
    """A bundle with labels; do not change it."""
    folder = tmp_path_factory.mktemp("labelled")
    return train_and_export(folder, tiny_model, DataConfig(train=str(label_rows))).bundle


def test_free_answers_keep_to_the_schema_in_a_file(
    ptune: Ptune, bundle: Path, tmp_path: Path
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "array", "items": {"type": "boolean"}, "maxItems": 2}')
    texts = tmp_path / "texts.txt"
    texts.write_text("the cat sat\nred\n")
    done = ptune("run", bundle, "--input", texts, "--generate", "--json-schema", schema, "--json")
    assert done.code == 0, done.err
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [answer["finish_reason"] for answer in answers] == ["end", "end"]
    for answer in answers:
        values = json.loads(answer["answer"])
        assert len(values) <= 2
        assert all(isinstance(value, bool) for value in values)


def test_the_base_writes_json_though_the_prompt_has_labels(
    ptune: Ptune, bundle: Path, tmp_path: Path
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "array", "items": {"type": "boolean"}, "maxItems": 2}')
    done = ptune("run", bundle, "the cat sat", "--base", "--json-schema", schema)
    assert done.code == 0, done.err
    assert len(json.loads(done.out)) <= 2
    labels = ptune("run", bundle, "the cat sat", "--base")
    assert labels.out.strip() in ("good", "bad green", "bad red")


def test_what_cannot_be_kept_to_ends_with_2(ptune: Ptune, bundle: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "banana"}')
    for options, said in {
        ("--json-object",): "--generate",
        ("--json-object", "--json-schema", schema, "--generate"): "both given",
        ("--json-schema", schema, "--generate"): "banana",
    }.items():
        done = ptune("run", bundle, "red", *options)
        assert done.code == 2
        assert said in done.err
        assert "hint:" in done.err
        assert "Traceback" not in done.err
        assert done.out == ""
