"""Templates and the label mask: the same text and tokens as transformers, wherever it has them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import transformers

from export import rendering
from export.encoding import RowEncoder, common_prefix
from export.errors import RenderingError, RowError, TemplateError
from export.rendering import RenderingProcess
from export.template import CHAT, Renderer, Template, split_text
from ptune_tui.engine.model import ModelTokenizer, load_tokenizer


@pytest.fixture(scope="module")
def text(tiny_model: Path) -> ModelTokenizer:
    return load_tokenizer(tiny_model)


def encoder(text: ModelTokenizer, template: str | None = None, free: bool = False) -> RowEncoder:
    return RowEncoder(text.tokenizer, text.template(template, free), text.end_token_id)


@pytest.mark.parametrize("message", ["hello", "  spaces ", "two\nlines", "{{ x }} {% y %}", "é🙂"])
def test_the_chat_template_renders_as_transformers_renders_it(
    text: ModelTokenizer, tiny_model: Path, message: str
) -> None:
    wrapped = transformers.AutoTokenizer.from_pretrained(tiny_model)
    expected = wrapped.apply_chat_template(
        [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
    )
    renderer = encoder(text, CHAT).renderer
    assert renderer.render(message).text == expected
    ids, _ = encoder(text, CHAT).encode_prompt(message)
    assert ids == wrapped(expected, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{prompt}\n", ("", "\n", "")),
        ("Review: {prompt}\nSentiment:", ("Review: ", "\nSentiment:", " ")),
        ("{prompt} => {response}", ("", " =>", " ")),
        ("{prompt}{response}", ("", "", "")),
    ],
)
def test_spaces_before_the_response_belong_to_it(
    template: str, expected: tuple[str, str, str]
) -> None:
    assert split_text(template) == expected


@pytest.mark.parametrize(
    "template", ["no place", "{prompt} {prompt}", "{response} {prompt}", "{prompt}{response} end"]
)
def test_a_template_that_cannot_work_is_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        split_text(template)


def test_a_hostile_chat_template_cannot_reach_python() -> None:
    source = "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages[0]['content'] }}"
    with pytest.raises(TemplateError):
        Renderer(Template(text=CHAT, chat_template=source))


HOSTILE = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% endfor %}{% endfor %}",
    "a text of ten billion characters": "{{ 'a' * 10**10 }}",
    "a number without end": "{{ 10 ** (10 ** 10) }}",
    "doubling": "{% set ns = namespace(x='a') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}"
    "{% endif %}{% endmacro %}{{ f(60) }}",
    "a million and more characters": "{{ 'abcd' * 300000 }}",
    "another template": "{% import 'os' as x %}",
    "no Jinja": "{% for",
    "an operation on the wrong type": "{{ messages + 1 }}",
    "an error that writes to the terminal": "{{ raise_exception('\x1b]0;title\x07\n' * 1000) }}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_template_that_does_not_behave_is_refused_in_a_sentence(source: str) -> None:
    process = RenderingProcess(seconds=0.5)
    said = [{"role": "user", "content": "hello"}]
    try:
        (refused,) = process.render(source, [{"messages": said}])
        assert isinstance(refused, TemplateError)
        assert refused.message.isprintable()
        assert len(refused.message) < 400
        # The next one is answered all the same.
        assert process.render("{{ messages[0].content }}", [{"messages": said}]) == ["hello"]
    finally:
        process.close()


def test_one_process_renders_for_all_and_starts_again_where_it_was_ended() -> None:
    process = RenderingProcess()
    try:
        odd = "\ud83d \u2028 a\nb"
        assert process.render("{{ x }}", [{"x": odd}, {"x": "b"}]) == [odd, "b"]
        child = process._child
        assert process.render("{{ x | tojson }}", [{"x": "é\n"}]) == ['"é\\n"']
        assert child is process._child
        assert child is not None
        child.kill()
        child.wait()
        assert process.render("a", [{}]) == ["a"]
    finally:
        process.close()


def test_one_text_that_does_not_end_costs_the_others_nothing() -> None:
    process = RenderingProcess(seconds=0.5)
    source = "{% if x == 'b' %}{{ raise_exception('no b') }}{% endif %}{{ x }}" + (
        "{% if x == 'c' %}{% for i in range(99999) %}{% for j in range(99999) %}"
        "{% endfor %}{% endfor %}{% endif %}"
    )
    try:
        found = process.render(source, [{"x": letter} for letter in "abcd"])
        assert [found[0], found[3]] == ["a", "d"]
        assert [str(each) for each in found[1:3]] == [
            "The model's chat template fails: no b",
            "The model's chat template does not come to an end within 0.5 s, or needs too much "
            "memory.",
        ]
    finally:
        process.close()


def test_a_template_that_ended_the_child_twice_is_not_asked_again() -> None:
    process = RenderingProcess(seconds=0.3)
    source = (
        "{{ x }}{% if x == 'c' %}{% for i in range(99999) %}{% for j in range(99999) %}"
        "{% endfor %}{% endfor %}{% endif %}"
    )
    try:
        found = process.render(source, [{"x": letter} for letter in "acccc"])
        assert found[0] == "a"
        assert ["does not come to an end" in str(each) for each in found[1:3]] == [True, True]
        assert ["it is not asked again" in str(each) for each in found[3:]] == [True, True]
        assert process._child is None  # nor was it started for them
        assert "not asked again" in str(process.render(source, [{"x": "a"}])[0])
        assert process.render("{{ x }}", [{"x": "a"}]) == ["a"]
    finally:
        process.close()


def test_a_child_that_cannot_be_started_is_no_fault_of_the_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child.py"
    child.write_text("raise SystemExit(3)")
    process = RenderingProcess()
    monkeypatch.setattr(rendering, "_CHILD", child)
    with pytest.raises(RenderingError, match=r"could not be started \(exit code 3\)"):
        process.render("{{ x }}", [{"x": "a"}, {"x": "b"}])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    with pytest.raises(RenderingError, match=r"could not be started: .*nowhere"):
        process.render("{{ x }}", [{"x": "a"}])
    monkeypatch.undo()
    try:
        assert process.render("{{ x }}", [{"x": "a"}]) == ["a"]
    finally:
        process.close()


def test_a_row_is_prompt_then_response_then_end_token(text: ModelTokenizer) -> None:
    row = encoder(text, "{prompt} is").encode_row("the cat", "good", 100)
    decoded = text.tokenizer.decode(row.prompt_ids, skip_special_tokens=False)
    assert decoded == "the cat is"
    assert text.tokenizer.decode(row.response_ids[:-1]) == " good"
    assert row.response_ids[-1] == text.end_token_id
    assert not row.was_cut


def test_a_long_prompt_is_cut_from_the_left_and_the_template_stays(text: ModelTokenizer) -> None:
    words = " ".join(f"word{number}" for number in range(50))
    row = encoder(text, "Text: {prompt}\nLabel:").encode_row(words, "good", 30)
    assert row.was_cut
    assert len(row.prompt_ids) == 30
    decoded = text.tokenizer.decode(row.prompt_ids)
    assert decoded.startswith("Text:")
    assert decoded.endswith("word49\nLabel:")


def test_a_limit_below_the_template_is_refused(text: ModelTokenizer) -> None:
    with pytest.raises(RowError, match="leave room"):
        encoder(text, "Text: {prompt}\nLabel:").encode_row("a long one", "good", 4)


def test_the_cut_does_not_depend_on_the_response(text: ModelTokenizer) -> None:
    words = " ".join(f"word{number}" for number in range(50))
    made = encoder(text, "{prompt}\n")
    short, long = made.encode_row(words, "a", 25), made.encode_row(words, "a b c d e f", 25)
    assert short.prompt_ids == long.prompt_ids


def test_the_lead_is_what_every_row_begins_with(text: ModelTokenizer) -> None:
    chat = encoder(text, CHAT)
    lead = chat.lead_ids()
    assert len(lead) >= 2
    for message in ["hello", "\nnew line", " space", "", "9", "user"]:
        ids, _ = chat.encode_prompt(message)
        assert ids[: len(lead)] == lead
    assert encoder(text, "{prompt}\n").lead_ids() == []


def test_common_prefix_is_the_longest_shared_beginning() -> None:
    assert common_prefix([[1, 2, 3], [1, 2, 4, 5], [1, 2]]) == [1, 2]
    assert common_prefix([[1], [2]]) == []
