"""Every format gives the rows that somebody else wrote."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pytest
from pyarrow import feather, parquet

from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError, UsageError
from ptune_tui.reading.record import RecordFault
from ptune_tui.reading.records import iter_records
from ptune_tui.rows import read_rows

ROWS = [
    {"prompt": "plain", "response": "a"},
    {"prompt": 'quoted "word", comma', "response": "b"},
    {"prompt": "two\nlines\r\nand a tab\t", "response": "c"},
    {"prompt": "é 你好 🙂 \u2028 { [ \\ ]}", "response": "d"},
    {"prompt": "x" * 200_000, "response": "long"},
]
Writer = Callable[[Path], None]


def write_lines(path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), "utf-8")


def write_table(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, ["prompt", "response"], delimiter="\t" if path.suffix == ".tsv" else ","
        )
        writer.writeheader()
        writer.writerows(ROWS)


def write_array(path: Path) -> None:
    path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8")


def write_wrapped(path: Path) -> None:
    about = {"version": [1, [2, {"a": "]"}]], "empty": [], "data": ROWS, "more": {"n": -1.5e3}}
    path.write_text(json.dumps(about), encoding="utf-8")


def write_parquet(path: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=2)


def write_feather(path: Path) -> None:
    feather.write_feather(pyarrow.Table.from_pylist(ROWS), str(path))


def write_stream(path: Path) -> None:
    table = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as out:
        out.write_table(table, max_chunksize=2)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.jsonl", write_lines),
        ("rows.NDJSON", write_lines),
        ("rows.json", write_lines),
        ("rows.json", write_array),
        ("rows.json", write_wrapped),
        ("rows.csv", write_table),
        ("rows.tsv", write_table),
        ("rows.parquet", write_parquet),
        ("rows.feather", write_feather),
        ("rows.arrow", write_feather),
        ("rows.arrow", write_stream),
    ],
)
def test_records_are_those_that_were_written(tmp_path: Path, name: str, write: Writer) -> None:
    path = tmp_path / name
    write(path)
    records = list(iter_records(path))
    assert [record.fields for record in records] == ROWS
    assert {record.source for record in records} == {str(path)}
    if path.suffix in (".parquet", ".feather", ".arrow", ".jsonl"):
        assert [record.line for record in records] == [1, 2, 3, 4, 5]
    if path.suffix in (".parquet", ".feather", ".arrow"):
        return
    packed = tmp_path / f"{name}.gz"
    with path.open("rb") as plain, gzip.open(packed, "wb") as file:
        shutil.copyfileobj(plain, file)
    again = list(iter_records(packed))
    assert [(each.fields, each.line) for each in again] == [
        (each.fields, each.line) for each in records
    ]


def test_a_record_is_placed_at_the_line_that_it_begins_in(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"about": "a\nb", "data": ROWS}, indent=1), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").split("\n")
    found = [record.line for record in iter_records(path)]
    assert found == [number for number, line in enumerate(lines, 1) if line == "  {"]
    table = tmp_path / "rows.csv"
    write_table(table)
    expected = [2, 3, 4, 7, 8]  # the third record has two line breaks inside
    assert [record.line for record in iter_records(table)] == expected


def test_pandas_reads_the_same_from_a_table_and_a_json_document(tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {"prompt": [f"text, {n}" for n in range(3000)], "response": [n % 7 for n in range(3000)]}
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_json(tmp_path / "b.json", orient="records")
    frame.to_json(tmp_path / "c.json.gz", orient="records", lines=True)
    frame.to_parquet(tmp_path / "d.parquet")
    expected = [(text, str(label)) for text, label in frame.itertuples(index=False)]
    for path in sorted(tmp_path.iterdir()):
        rows = read_rows(path, DataConfig())
        assert [(row.prompt, row.response) for row in rows] == expected, path


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.jsonl", b'{"n": 1}\n{"n": \n[1]\n{"n": "\xe9"}\n{"n": 2}\n', [2, 3, 4]),
        ("a.json", b'[{"n": 1},\n 7,\n{"n": NaN},\n{"n": 2}]', [2, 3]),
        ("a.csv", b'n,m\n1,a\n2\n"3"x,b\n\xff,c\n2,d\n', [3, 4, 5]),
    ],
)
def test_reading_goes_on_behind_a_bad_record_where_somebody_takes_it(
    tmp_path: Path, name: str, content: bytes, lines: list[int]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    faults: list[RecordFault] = []
    records = list(iter_records(path, faults.append))
    assert [int(record.fields["n"]) for record in records] == [1, 2]
    assert [fault.line for fault in faults] == lines
    assert all(fault.message and fault.hint for fault in faults)
    with pytest.raises(DataError, match=rf"{name}:{lines[0]}: "):
        list(iter_records(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('text,label\na,x\n"b,y\nc,x\nd,y\n', "Lines 3 to 5 are lost with it."),
        ('text,label\n"a\nb"c,x\nd,y\n', "Lines 2 to 3 are lost with it."),
        ('text,label\n"a"b,x\nd,y\n', "expected after '\"'."),
    ],
)
def test_a_quotation_mark_that_swallows_lines_says_which(
    tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    faults: list[RecordFault] = []
    deque(iter_records(path, faults.append), 0)
    (fault,) = faults
    assert fault.message.endswith(words)


def test_labels_with_names_are_read_by_name(tmp_path: Path) -> None:
    about = {"info": {"features": {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}}}
    table = pyarrow.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    named = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    path = tmp_path / "rows.parquet"
    parquet.write_table(named, path)
    labels = [record.fields["label"] for record in iter_records(path)]
    assert labels == ["good", "bad", None]
    with pytest.raises(DataError, match=r"rows\.parquet:3: this row has no `label`"):
        read_rows(path, DataConfig())
    parquet.write_table(named.slice(0, 2).append_column("x", [[1, 2]]), path)
    assert [row.response for row in read_rows(path, DataConfig())] == ["good", "bad"]
    wrong = pyarrow.table({"text": ["a"], "label": [2]})
    parquet.write_table(wrong.replace_schema_metadata(named.schema.metadata), path)
    with pytest.raises(DataError, match=r"parquet:1: `label` is 2, and there are 2 label names"):
        list(iter_records(path))


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    path = tmp_path / "rows.parquet"
    write_parquet(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="`pyarrow` is not installed") as caught:
        list(iter_records(path))
    assert "ptune-tui[data]" in caught.value.hint


def test_a_big_document_streams(tmp_path: Path) -> None:
    """Records come out before the end was read: the end is missing."""
    path = tmp_path / "rows.json"
    record: dict[str, Any] = {"prompt": "word " * 20, "response": "a"}
    path.write_text(json.dumps([record] * 20_000)[:-1], encoding="utf-8")
    records = iter_records(path)
    assert next(records).fields == record
    with pytest.raises(DataError, match="the file ends before its JSON does"):
        deque(records, maxlen=0)


@pytest.mark.parametrize(
    "header", [b"prompt,resp\0onse", b"prompt,r\xe9sponse", b'"prompt"x,response']
)
def test_a_row_never_stands_for_a_damaged_header(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(header + b"\na,b\nc,d\n")
    with pytest.raises(DataError, match=r"rows\.csv:1: "):
        list(iter_records(path, lambda _: None))


def test_records_that_share_a_line_have_an_item(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    rows = [{"prompt": f"text {number} ]}},", "response": "a"} for number in range(5)]

    def items(text: str) -> list[tuple[int, int]]:
        path.write_text(text, encoding="utf-8")
        return [(record.line, record.item) for record in iter_records(path)]

    assert items(json.dumps(rows)) == [(1, number) for number in range(1, 6)]
    assert items(json.dumps({"v": [1], "data": rows})) == [(1, n) for n in range(1, 6)]
    assert items(json.dumps(rows[:1])) == [(1, 0)]
    assert items(json.dumps(rows, indent=1)) == [(2 + 4 * n, 0) for n in range(5)]
    one, two, three, four, five = map(json.dumps, rows)
    # The first of a line is told apart from the others, too.
    text = f"[\n{one},\n{two} , {three}\t,{four}\n,{five}\n]"
    assert items(text) == [(2, 0), (3, 2), (3, 3), (3, 4), (4, 0)]
    # Each begins on a line of its own.
    assert items(json.dumps(rows, indent=0).replace("},\n{", "}, {"))[:2] == [(2, 0), (5, 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"a": NaN}, {"a": 2}]', ", item 2: this is not JSON"),
        ('[{"a": 1}, {"a": 2}, 3]', ", item 3: this is a JSON int, not an object"),
        ('[{"a": 1}, {"a": 2}, {"a', ", item 3: the file ends inside the record that begins here"),
        ('[{"a": 1}, {"a": 2} {"a": 3}]', ", item 2: `,` was expected here"),
        ('[{"a": 1}, {"a": 2}\n {"a": 3}]', "rows.json:2: `,` was expected here"),
    ],
)
def test_a_fault_among_records_that_share_a_line_names_the_item(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(iter_records(path))
    assert message in caught.value.message
