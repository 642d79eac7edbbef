"""Data of every kind through the command line: said, trained on, scored, and refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from export.encoding import answer_limit
from export.runtime import Bundle
from ptune_tui.config import DataConfig
from ptune_tui.data import encode_rows
from ptune_tui.engine.evaluate import Evaluator
from ptune_tui.rows import read_rows
from tests.cli.conftest import Ptune, run_ptune
from tests.export.conftest import Exported, train_and_export, tuned_model
from tests.reading.malformed import cases

TEMPLATE = "Seen: {{ title }}{% if text %} - {{ text }}{% endif %}\nColour:"


@pytest.fixture(scope="module")
def over_columns(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Exported:
    """A bundle whose prompts were made of two columns of a Parquet file."""
    import pyarrow
    from pyarrow import parquet

    folder = tmp_path_factory.mktemp("columns")
    rows = [
        {
            "title": f"the cat {n}",
            "text": None if n % 3 else "it ran",
            "label": ("red", "blue")[n % 2],
        }
        for n in range(40)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "rows.parquet")
    data = DataConfig(train=str(folder / "rows.parquet"), template=TEMPLATE)
    return train_and_export(folder / "made", tiny_model, data)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Exported:
    """A bundle that was trained on conversations."""
    folder = tmp_path_factory.mktemp("talk")
    turns = [("system", "be brief"), ("user", "hello"), ("assistant", "yes?")]
    lines = []
    for n in range(20):
        all_turns = [*turns[n % 2 :], ("user", f"say {n}"), ("assistant", f"word {n} it")]
        lines.append({"messages": [{"role": role, "content": text} for role, text in all_turns]})
    path = folder / "talk.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return train_and_export(folder / "made", tiny_model, DataConfig(train=str(path)))


def test_a_bundle_makes_its_prompts_of_columns_as_in_training(
    over_columns: Exported, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    scored = run_ptune(
        *("eval", over_columns.bundle, "--data", over_columns.rows, "--json"), home=home
    )
    assert scored.code == 0, scored.err
    assert "note: rows.parquet: input: `text`, `title`; answer: `label`" in scored.err
    answered = run_ptune(
        *("run", over_columns.bundle, "--input", over_columns.rows, "--json"), home=home
    )
    answers = [json.loads(line) for line in answered.out.splitlines()]
    rows = read_rows(over_columns.rows, DataConfig(template=TEMPLATE))
    assert [answer["prompt"] for answer in answers] == [row.prompt for row in rows]
    assert rows[0].prompt == "the cat 0 - it ran"
    right = [answer["answer"] == row.response for answer, row in zip(answers, rows, strict=True)]
    assert json.loads(scored.out)["accuracy"] == pytest.approx(sum(right) / len(right))
    tuned = Bundle.open(over_columns.bundle, num_threads=1).tuned()
    assert tuned.record.template.text == "Seen: {prompt}\nColour:"


def test_conversations_are_answered_by_the_bundle_as_in_torch(talk: Exported) -> None:
    rows = read_rows(talk.rows, DataConfig())[:8]
    tuned = tuned_model(talk.run)
    encoder = tuned.encoder()
    assert encoder.renderer.is_chat
    encoded = encode_rows(rows, encoder, tuned.card.max_prompt_tokens)
    assert len({len(row.prompt_ids) for row in encoded}) > 1
    evaluator = Evaluator(
        tuned.frozen, encoder, tuned.card.labels, answer_limit(tuned.card.max_response_tokens)
    )
    expected = evaluator.score(tuned.prompt, rows, encoded).answers
    answerer = Bundle.open(talk.bundle, "exact", num_threads=1).tuned()
    assert [answerer.answer(row.request(is_chat=True)) for row in rows] == expected


@pytest.mark.parametrize(
    "name",
    [
        "utf-16 .jsonl",
        "latin-1 .csv",
        "nested too deep in line 4",
        "an unclosed quotation mark",
        "rubbish behind gzip .jsonl",
        "half a stream",
        "Parquet without its last byte",
        "text behind the end",
    ],
)
def test_a_malformed_file_ends_the_command_with_one_sentence(
    ptune: Ptune, tmp_path: Path, name: str
) -> None:
    (case,) = [case for case in cases() if case.name == name]
    path = tmp_path / case.file
    path.write_bytes(case.content)
    # A preset reads the data before anything is loaded.
    done = ptune("train", "--preset", "quick", "--data", path)
    assert done.code == 3, done.err
    error, hint = done.err.splitlines()
    assert error.startswith(f"error: {path}:{case.line or ''}")
    assert hint.startswith("hint: ")


def test_what_was_recognised_is_said_before_training(
    ptune: Ptune, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for split, count in (("train", 24), ("validation", 6)):
        with gzip.open(folder / f"{split}.csv.gz", "wt") as file:
            file.write("id,sentence,label\n")
            file.writelines(f"{n},the cat {n},{'ab'[n % 2]}\n" for n in range(count))
    options = ("--max-steps", 1, "--batch-size", 4, "--evaluate-every", 1, "--display", "plain")
    done = ptune(
        "train", "--model", tiny_model, "--data", folder, "--out", tmp_path / "run", *options
    )
    assert done.code == 0, done.err
    assert "set:train: input: `sentence`; answer: `label`; not used: `id`" in done.err
    assert "24 training and 6 validation rows" in done.err
    scored = ptune("eval", tmp_path / "run", "--data", f"{folder}:validation")
    assert scored.code == 0, scored.err
    assert "6 rows" in scored.out
