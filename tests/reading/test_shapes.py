"""Shapes of records: recognised by the names of their fields, or named; and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from ptune_tui.config import DataConfig
from ptune_tui.data import load_data
from ptune_tui.errors import DataError, UsageError
from ptune_tui.reading.column_template import taken_apart
from ptune_tui.reading.mapping import recognise
from ptune_tui.reading.record import Record
from ptune_tui.reading.row import Turn
from ptune_tui.rows import Row, RowsRead, read_rows, recognise_rows


def read(tmp_path: Path, *records: dict[str, Any], **columns: str) -> RowsRead:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return recognise_rows(path, DataConfig(**columns))


def read_one(tmp_path: Path, record: dict[str, Any], **columns: str) -> Row:
    (row,) = read(tmp_path, record, **columns).rows
    return row


@pytest.mark.parametrize(
    ("record", "prompt", "response", "about"),
    [
        ({"prompt": "p", "response": "r", "id": 1}, "p", "r", None),
        ({"prompt": "p", "completion": "r"}, "p", "r", "input: `prompt`; answer: `completion`"),
        ({"id": 4, "text": "p", "label": 0}, "p", "0", "answer: `label`; not used: `id`"),
        ({"text": "p", "label": 1, "label_text": "good"}, "p", "good", "answer: `label_text`; not"),
        ({"sentence": "p", "label": "r"}, "p", "r", "input: `sentence`; answer: `label`"),
        ({"question": "p", "answer": "r"}, "p", "r", "input: `question`; answer: `answer`"),
        ({"input": "p", "output": "r"}, "p", "r", "input: `input`; answer: `output`"),
        ({"instruction": "p", "output": "r"}, "p", "r", "input: `instruction`; answer: `output`"),
        ({"Category": "ham", "Message": "p"}, "p", "ham", "input: `Message`; answer: `Category`"),
        ({"document": "p", "summary": "r"}, "p", "r", "input: `document`; answer: `summary`"),
        (
            {"instruction": "do", "input": "this", "output": "r"},
            *("do\n\nthis", "r", "input: `instruction`, `input`; answer: `output`"),
        ),
        ({"instruction": "do", "input": "", "output": "r"}, "do", "r", "input: `instruction`"),
        (
            {"instruction": "do", "context": "this", "response": "r", "category": "qa"},
            *("do\n\nthis", "r", "answer: `response`; not used: `category`"),
        ),
    ],
)
def test_usual_names_are_recognised_and_said(
    tmp_path: Path, record: dict[str, Any], prompt: str, response: str, about: str | None
) -> None:
    found = read(tmp_path, record)
    assert [(row.prompt, row.response) for row in found.rows] == [(prompt, response)]
    assert found.about is None if about is None else about in str(found.about)


@pytest.mark.parametrize("about", ["", "  ", None, float("nan")])
def test_an_instruction_without_an_input_stands_alone(tmp_path: Path, about: object) -> None:
    record = {"instruction": "Count to two.", "input": about, "output": "1 2"}
    path = tmp_path / "rows.parquet"
    pandas.DataFrame([record, record | {"input": "slowly"}]).to_parquet(path)
    rows = read_rows(path, DataConfig())
    assert [row.prompt for row in rows] == ["Count to two.", "Count to two.\n\nslowly"]


@pytest.mark.parametrize(
    ("references", "expected"),
    [("c", ("b", "c")), (["c", "b"], ("b", "c")), (" ", ()), (None, ()), ([], ()), (7, ("b", "7"))],
)
def test_references_may_be_one_or_several(
    tmp_path: Path, references: object, expected: tuple[str, ...]
) -> None:
    record = {"prompt": "a", "response": "b", "references": references}
    assert read_one(tmp_path, record).references == expected


def test_names_that_were_given_win(tmp_path: Path) -> None:
    record = {"prompt": "a", "response": "b", "title": "c", "topic": "d", "messages": []}
    assert read_one(tmp_path, record, prompt_field="title").prompt == "c"
    assert read_one(tmp_path, record, response_field="topic").response == "d"
    both = read(tmp_path, record, prompt_field="title", response_field="topic")
    assert (both.rows[0].prompt, both.rows[0].response, both.about) == ("c", "d", None)
    with pytest.raises(DataError, match=r"rows\.jsonl:1: this row has no `name`"):
        read_one(tmp_path, record, prompt_field="name")


def test_the_first_record_decides_for_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:2: this row has no `text`"):
        read(tmp_path, {"text": "a", "label": "b"}, {"sentence": "a", "label": "b"})


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": " yo "}]},
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "content": "yo"},
                {"role": "user", "content": "left out"},
            ]
        },
        {
            "prompt": [{"role": "user", "content": "hi"}],
            "completion": [{"role": "assistant", "content": "yo"}],
        },
        {"messages": [{"role": "user", "content": "hi"}], "label": "yo"},
    ],
)
def test_a_conversation_is_asked_up_to_the_last_answer(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    row = read_one(tmp_path, record)
    assert (row.prompt, row.response, row.turns) == ("hi", "yo", (Turn("user", "hi"),))


def test_earlier_turns_and_the_system_belong_to_the_prompt(tmp_path: Path) -> None:
    turns = [("human", "one"), ("gpt", "two"), ("human", "three"), ("gpt", "four")]
    record = {
        "system": "be brief",
        "conversations": [{"from": role, "value": text} for role, text in turns],
    }
    row = read_one(tmp_path, record)
    expected = [("system", "be brief"), ("user", "one"), ("assistant", "two"), ("user", "three")]
    assert [(turn.role, turn.content) for turn in row.turns] == expected
    assert row.response == "four"
    assert row.prompt == "System: be brief\n\nUser: one\n\nAssistant: two\n\nUser: three"
    assert row.request(is_chat=False) == row.prompt
    assert row.request(is_chat=True) == [{"role": role, "content": text} for role, text in expected]


def test_several_right_answers_are_kept_and_the_first_is_learned(tmp_path: Path) -> None:
    for name in ("references", "responses", "response"):
        row = read_one(tmp_path, {"prompt": "p", name: ["one", " two "]})
        assert (row.response, row.references) == ("one", ("one", "two"))
    row = read_one(tmp_path, {"prompt": "p", "response": "one", "references": ["two", "one"]})
    assert row.references == ("one", "two")
    row = read_one(tmp_path, {"prompt": "p", "response": "one"})
    assert (row.references, row.right_answers) == ((), ("one",))


def test_real_references_are_those_of_the_file(real_data: Path) -> None:
    path = real_data / "e2e_nlg" / "test_refs.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = read_rows(path, DataConfig())
    assert [list(row.right_answers) for row in rows] == [
        [text.strip() for text in line["references"]] for line in lines
    ]


@pytest.mark.parametrize(
    ("template", "outer", "jinja"),
    [
        ("{{ title }} - {{ text }}", None, "{{ title }} - {{ text }}"),
        ("News: {{ title }}\nTopic:", "News: {prompt}\nTopic:", "{{ title }}"),
        ("News: {{ title }}", "News: {prompt}\n", "{{ title }}"),
        ("{% if a %}x{% endif %} =>{response}", "{prompt} =>{response}", "{% if a %}x{% endif %}"),
        ("A  {{- b -}}  c", "A{prompt}c", "{{- b -}}"),
    ],
)
def test_what_stands_around_the_jinja_is_the_template(
    template: str, outer: str | None, jinja: str
) -> None:
    assert taken_apart(template) == (outer, jinja)


def test_a_template_over_columns_makes_the_prompts(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("title,text,label\n" + "T,long text,x\nU,,y\n" * 8, encoding="utf-8")
    template = "News: {{ title | lower }}{% if text %} - {{ text }}{% endif %}\nTopic:"
    data = load_data(DataConfig(train=str(path), template=template), seed=0)
    assert {row.prompt for row in data.train} == {"t - long text", "u"}
    assert data.template == "News: {prompt}\nTopic:"
    assert data.columns == "{{ title | lower }}{% if text %} - {{ text }}{% endif %}"
    assert data.about == ("rows.csv: input: `text`, `title`; answer: `label`",)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ nowhere }}", "rows.jsonl:1: the template cannot be filled in: 'nowhere' is undefined"),
        ("{{ text.__class__.__mro__ }}", "the template cannot be filled in"),
        ("{{ text / 2 }}", "the template cannot be filled in"),
        ("{{ text[50] }}", "the template cannot be filled in"),
        ("{% if false %}a{% endif %}", "makes an empty text"),
    ],
)
def test_a_row_that_a_template_cannot_take_is_named(
    tmp_path: Path, template: str, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"text": "a", "label": "b"}, template=template)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "template", ["{{ text", "{% for %}", "{{ text | nofilter }}", "{prompt} {{ text }}"]
)
def test_a_template_that_is_no_jinja_is_refused(tmp_path: Path, template: str) -> None:
    with pytest.raises(UsageError, match="template"):
        read(tmp_path, {"text": "a", "label": "b"}, template=template)


def test_the_column_named_as_the_answer_is_never_taken_for_the_input() -> None:
    record = Record({"question": "q", "text": "t", "answer": "a"}, "f", 1)
    row = recognise(record, DataConfig(response_field="question")).row_of(record)
    assert (row.prompt, row.response) == ("t", "q")
