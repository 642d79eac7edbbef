"""The table: what flipped, what is compared with what, and that it fits a terminal."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from sklearn.metrics import accuracy_score

from ptune_tui.cli.evaluation_request import parse_baselines
from ptune_tui.errors import DataError, UsageError
from ptune_tui.evaluation.answered import flips_between, rows_between
from ptune_tui.evaluation.assembly import Answered, assemble, flipped
from ptune_tui.evaluation.bootstrap import Resamples
from ptune_tui.evaluation.contenders import ContenderAnswers
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.evaluation.markdown import markdown_lines
from ptune_tui.evaluation.table import detail_lines, flip_counts, summary_lines, table_lines
from ptune_tui.results import (
    Evaluation,
    ForgettingProbe,
    finite,
    read_evaluation,
    write_result,
)
from ptune_tui.rows import Row
from ptune_tui.run_table import fuller_table

EXPECTED = ["a", "b", "c"] * 10
BASE = ["a"] * 30
TUNED = [*EXPECTED[:-6], "a", "a", "a", "b", "a", "a"]
FEW_SHOT = "few-shot (100 examples)"
TITLES = ["base (zero-shot)", FEW_SHOT, "tuned prompt", "bundle (throughput)"]


def answers(key: ContenderKey, title: str, given: list[str], certain: bool) -> ContenderAnswers:
    return ContenderAnswers(
        key, title, "torch, stream", given, [0.5] * len(given) if certain else None, 2.0, 1, "told"
    )


def evaluation(folder: Path, labels: list[str] | None) -> Evaluation:
    data = folder / "rows.jsonl"
    data.write_text("{}\n")
    rows = [Row(f"text {i}", label, str(data), i + 1) for i, label in enumerate(EXPECTED)]
    is_closed = labels is not None
    given = Answered(
        "rows.jsonl",
        data,
        rows,
        labels,
        [
            answers("base", "base (zero-shot)", BASE, is_closed),
            answers("few_shot", FEW_SHOT, BASE, is_closed),
            answers("tuned", "tuned prompt", TUNED, is_closed),
            answers("bundle", "bundle (throughput)", TUNED, is_closed),
        ],
        "tuned prompt",
        "base (zero-shot)",
        [ForgettingProbe("perplexity of 40 neutral passages", "20.00", "30.00")],
        ["A note."],
        "ptune eval run --data rows.jsonl",
    )
    return assemble(given, Resamples(30, 200))


def test_flips_go_both_ways_and_are_counted(tmp_path: Path) -> None:
    found = evaluation(tmp_path, ["a", "b", "c"])
    assert len(found.flips) == sum(left != right for left, right in zip(BASE, TUNED, strict=True))
    gains = [flip for flip in found.flips if flip.is_gain]
    losses = [flip for flip in found.flips if flip.is_loss]
    assert len(gains) == 16
    assert [(flip.row, flip.expected, flip.before, flip.after) for flip in losses] == [
        (28, "a", "a", "b")
    ]
    assert "16 rows became right, 1 became wrong, of 30" in flip_counts(found)


def test_every_row_keeps_the_answers_of_all_lines(tmp_path: Path) -> None:
    found = evaluation(tmp_path, ["a", "b", "c"])
    kept = [dict(zip(TITLES, row.answers, strict=True)) for row in found.answered]
    assert [row[FEW_SHOT] for row in kept] == BASE
    assert [row["bundle (throughput)"] for row in kept] == TUNED
    assert [row.expected for row in found.answered] == EXPECTED
    assert flips_between(found, "base (zero-shot)", "tuned prompt") == found.flips
    others = flips_between(found, FEW_SHOT, "tuned prompt")
    assert [flip.row for flip in others] == [flip.row for flip in found.flips]
    assert flips_between(found, "bundle (throughput)", "tuned prompt") == []
    every = rows_between(found, "bundle (throughput)", "base (zero-shot)")
    assert [(flip.before, flip.after) for flip in every] == list(zip(TUNED, BASE, strict=True))


def test_of_labels_a_flip_is_right_where_the_accuracy_says_so() -> None:
    rows = [Row("p", "a", "", 1, references=("a", "b"))]
    (flip,) = flipped(rows, ["c"], ["b"], is_closed=True)
    assert not flip.is_gain
    (flip,) = flipped(rows, ["c"], ["b"], is_closed=False)
    assert flip.is_gain


def test_the_target_is_tested_against_every_other_line(tmp_path: Path) -> None:
    found = evaluation(tmp_path, ["a", "b", "c"])
    assert {(test.first, test.second) for test in found.tests} == {
        ("tuned prompt", title) for title in ("base (zero-shot)", FEW_SHOT, "bundle (throughput)")
    }
    by_other = {test.second: test for test in found.tests}
    assert (by_other[FEW_SHOT].num_first_only, by_other[FEW_SHOT].num_second_only) == (16, 1)
    tuned = found.contender("tuned prompt")
    assert tuned is not None
    assert tuned.score("accuracy") == pytest.approx(accuracy_score(EXPECTED, TUNED))


@pytest.mark.parametrize("labels", [["a", "b", "c"], None])
def test_everything_fits_80_columns(tmp_path: Path, labels: list[str] | None) -> None:
    found = evaluation(tmp_path, labels)
    table = list(table_lines(found))
    shown = [*table, *summary_lines(found), *detail_lines(found)]
    assert max(len(line) for line in shown if tmp_path.name not in line) <= 80
    assert any("83.3" in line for line in table)
    # Labels: one line a contender; free text has too many scores and gets a second one.
    assert len(table) == (1 + 4 if labels else 1 + 8)
    markdown = list(markdown_lines(found))
    assert sum(line.startswith("| ") for line in markdown) == 1 + 4
    assert markdown[-1] == "    ptune eval run --data rows.jsonl"


def test_a_table_is_read_back_from_a_run(tmp_path: Path) -> None:
    assert read_evaluation(tmp_path) is None
    found = evaluation(tmp_path, ["a", "b", "c"])
    write_result(tmp_path / "evaluation.json", found)
    assert read_evaluation(tmp_path) == found


def test_a_score_that_is_no_number_is_left_out_or_refused(tmp_path: Path) -> None:
    found = evaluation(tmp_path, ["a", "b", "c"])
    first, *others = found.contenders
    lost = [
        msgspec.structs.replace(metric, low=float("nan")) if metric.name == "macro_f1" else metric
        for metric in first.metrics
    ]
    odd = msgspec.structs.replace(
        found, contenders=[msgspec.structs.replace(first, metrics=lost), *others]
    )
    path = tmp_path / "evaluation.json"
    write_result(path, found)
    with pytest.raises(DataError, match="is not finite"):
        write_result(path, odd)
    assert read_evaluation(tmp_path) == found
    write_result(path, finite(odd))
    read = read_evaluation(tmp_path)
    assert read is not None
    assert all(line.score("macro_f1") is None for line in read.contenders)
    assert "macro_f1" in read.notes[-1]
    assert len(list(table_lines(read))) == 1 + 4
    assert finite(found) == found


def test_a_fuller_table_of_the_same_prompt_and_data_is_known(tmp_path: Path) -> None:
    made = evaluation(tmp_path, ["a", "b", "c"])
    run = tmp_path / "run"
    adapter = run / "adapter" / "adapter_model.safetensors"
    adapter.parent.mkdir(parents=True)
    adapter.write_bytes(b"prompt")
    full = msgspec.structs.replace(made, prompt_hash=hashlib.sha256(b"prompt").hexdigest())
    fewer_rows = msgspec.structs.replace(full, num_rows=full.num_rows - 1)
    fewer_lines = msgspec.structs.replace(full, contenders=full.contenders[:1])
    assert fuller_table(run, fewer_rows) is None
    write_result(run / "evaluation.json", full)
    assert fuller_table(run, fewer_rows) == fuller_table(run, fewer_lines) == full
    assert fuller_table(run, full) is None
    assert fuller_table(run, msgspec.structs.replace(fewer_rows, data_hash="other")) is None
    adapter.write_bytes(b"another prompt")
    assert fuller_table(run, fewer_rows) is None


def test_baselines_are_named_in_any_order_and_checked() -> None:
    assert parse_baselines("few-shot,base", of_bundle=False) == ("base", "few_shot")
    assert parse_baselines("none", of_bundle=False) == ()
    assert parse_baselines("all", of_bundle=True) == ("base", "instruction", "few_shot")
    assert parse_baselines("all", of_bundle=False)[-2:] == ("bundle", "lora")
    with pytest.raises(UsageError, match="no baseline `fewshot` at all"):
        parse_baselines("fewshot", of_bundle=False)
    with pytest.raises(UsageError, match="no baseline `lora` beside a bundle"):
        parse_baselines("lora", of_bundle=True)
