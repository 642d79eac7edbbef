"""What `--fix` writes, read by something else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ptune_tui.config import DataConfig
from ptune_tui.data_check.check import Check, Checked
from ptune_tui.data_check.cleaning import Cleaned, check_destination, write_cleaned
from ptune_tui.data_check.source import SplitFile
from ptune_tui.errors import DataError, UsageError
from ptune_tui.rows import read_rows

LINES = [
    {"id": 1, "prompt": "where is my parcel", "response": "shipping"},
    {"id": 2, "prompt": "where is my parcel", "response": "shipping"},
    {"id": 3, "prompt": "the cafÃ© is cold", "response": "Shipping", "meta": {"by": "Ã© me"}},
    {"id": 4, "prompt": "", "response": "billing"},
    {"id": 5, "prompt": "key AKIAIOSFODNN7EXAMPLE", "response": "billing"},
    {"id": 6, "prompt": "this one leaks", "response": "billing"},
    {"id": 7, "prompt": "another way to ask for it", "response": "shipping"},
]


def cleaned(source: Path, held_out: Path | None, out: Path) -> tuple[Checked, Cleaned]:
    files = [SplitFile("training", source)]
    if held_out:
        files.append(SplitFile("test", held_out))
    config = DataConfig(scoring="labels")
    checked = Check(files, config, None, 5, lambda *_: None).run()
    return checked, write_cleaned(source, out, config, checked, lambda *_: None)


def test_a_cleaned_copy_holds_what_is_left_with_all_its_fields(tmp_path: Path) -> None:
    source, held_out, out = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    content = "".join(json.dumps(line) + "\n" for line in LINES) + '{"cut\n'
    source.write_text(content, encoding="utf-8")
    held_out.write_text(json.dumps(LINES[5]) + "\n", encoding="utf-8")
    checked, done = cleaned(source, held_out, out)
    assert [json.loads(line) for line in out.read_text("utf-8").splitlines()] == [
        LINES[0],
        {"id": 3, "prompt": "the café is cold", "response": "shipping", "meta": {"by": "é me"}},
        {"id": 5, "prompt": "key [redacted]", "response": "billing"},
        LINES[6],
    ]
    assert (done.num_written, done.num_left_out, done.num_dropped) == (4, 2, 2)
    assert (done.num_repaired, done.num_redacted, done.num_relabelled) == (1, 1, 1)
    assert source.read_text("utf-8") == content
    assert checked.num_errors_left == 0
    again, _ = cleaned(out, held_out, tmp_path / "d.jsonl")
    assert not [found for found in again.report.findings if found.fix != "nothing"]


def test_errors_that_only_a_person_can_mend_are_left(tmp_path: Path) -> None:
    source, held_out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    held_out.write_text('{"prompt": "new", "response": "other"}\n{"cut\n', encoding="utf-8")
    checked, _ = cleaned(source, held_out, tmp_path / "c.jsonl")
    assert checked.num_errors_left == 2  # an unknown label, and a line that is not in the copy


def test_a_table_stays_a_table(tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "b.tsv"
    source.write_text('n,prompt,response\n1,"a, b\nc",x\n2,"a, b\nc",x\n3,d,y\n', encoding="utf-8")
    cleaned(source, None, out)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows == [["n", "prompt", "response"], ["1", "a, b\nc", "x"], ["3", "d", "y"]]


def test_records_that_are_no_table_are_not_written_as_one(tmp_path: Path) -> None:
    source, out = tmp_path / "a.jsonl", tmp_path / "b.csv"
    source.write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    with pytest.raises(UsageError, match="`meta` is nested"):
        cleaned(source, None, out)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("name", ["there.jsonl", "out.parquet", "missing/out.jsonl"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / "there.jsonl").touch()
    with pytest.raises(UsageError):
        check_destination(tmp_path / name)


def test_a_file_without_a_row_says_what_its_first_line_lacks(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"cut\n{"prompt": "", "response": "x"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"no row that can be used; .*a\.jsonl:1: "):
        Check([SplitFile("training", source)], DataConfig(), None, 5, lambda *_: None).run()


def test_a_file_that_changed_since_the_check_is_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    lines = [json.dumps(line) + "\n" for line in LINES]
    source.write_text("".join(lines), encoding="utf-8")
    config = DataConfig()
    files = [SplitFile("training", source)]
    checked = Check(files, config, None, 5, lambda *_: None).run()
    source.write_text("".join(lines[:5]), encoding="utf-8")
    with pytest.raises(DataError, match="had 6 rows when it was checked and has 4 now"):
        write_cleaned(source, out, config, checked, lambda *_: None)
    assert not out.exists()


def test_a_label_is_rewritten_where_it_is_the_answer_and_nowhere_else(tmp_path: Path) -> None:
    source = tmp_path / "train.jsonl"
    rows = [{"prompt": f"text {number}", "response": "ham", "note": "x"} for number in range(9)]
    rows.append({"prompt": "Ham", "response": "Ham", "note": "Ham"})
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    _, made = cleaned(source, None, tmp_path / "out.jsonl")
    last = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert last == {"prompt": "Ham", "response": "ham", "note": "Ham"}
    assert made.num_relabelled == 1


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_response_that_mending_leaves_empty_is_left_out(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"prompt": f"p {n}", "response": "x"} for n in range(4)]
    rows[2]["response"] = "\u200b\u2060"
    _, made = cleaned(write(tmp_path / "a.jsonl", rows), None, tmp_path / "b.jsonl")
    assert (made.num_written, made.num_left_out) == (3, 1)
    assert len(read_rows(tmp_path / "b.jsonl", DataConfig())) == 3


@pytest.mark.parametrize("label", ["rare", "caf\u00c3\u00a9"])  # dropped as a leak; mended
def test_a_label_that_only_held_out_rows_are_left_with_is_said(tmp_path: Path, label: str) -> None:
    rows: list[dict[str, object]] = [{"prompt": f"p {n}", "response": "x"} for n in range(8)]
    rows.append({"prompt": "shared", "response": label})
    held_out = [{"prompt": "shared" if label == "rare" else "new", "response": label}]
    _, made = cleaned(
        write(tmp_path / "a.jsonl", rows),
        write(tmp_path / "b.jsonl", held_out),
        tmp_path / "c.jsonl",
    )
    kept = {row.response for row in read_rows(tmp_path / "c.jsonl", DataConfig())}
    assert label not in kept
    assert [(lost.label, lost.split, lost.num_rows) for lost in made.lost_labels] == [
        (label, "test", 1)
    ]


def test_a_variant_that_held_out_rows_use_stays_in_the_copy(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"prompt": f"p {n}", "response": "ham"} for n in range(8)]
    rows.append({"prompt": "other", "response": "Ham"})
    held_out = write(tmp_path / "b.jsonl", [{"prompt": "new", "response": "Ham"}])
    _, made = cleaned(write(tmp_path / "a.jsonl", rows), held_out, tmp_path / "c.jsonl")
    assert made.lost_labels == []
    assert read_rows(tmp_path / "c.jsonl", DataConfig())[-1].response == "Ham"


def test_a_carriage_return_in_a_text_is_read_back(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"prompt": "one\rtwo", "response": "x"},
        {"prompt": "three\nfour", "response": "y"},
    ]
    out = tmp_path / "b.csv"
    cleaned(write(tmp_path / "a.jsonl", rows), None, out)
    assert b"\r\n" not in out.read_bytes()
    with out.open(encoding="utf-8", newline="") as file:
        assert [row["prompt"] for row in csv.DictReader(file)] == ["one\rtwo", "three\nfour"]
    assert [row.prompt for row in read_rows(out, DataConfig())] == ["one\rtwo", "three\nfour"]
