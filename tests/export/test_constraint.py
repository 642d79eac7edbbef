"""Answers of a random model, which are noise without a constraint, keep to the one they get."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.constraint import json_constraint, regex_constraint
from export.errors import ConstraintError
from export.runtime import Bundle
from export.sampling import Sampling
from ptune_tui.config import DataConfig
from tests.export.conftest import Exported, train_and_export

COMMAND = {
    "type": "object",
    "properties": {
        "room": {"enum": ["kitchen", "hall", "Flur \u00fc"]},
        "on": {"type": "boolean"},
        "level": {"type": "integer", "minimum": 0, "maximum": 100},
    },
    "required": ["room", "on", "level"],
    "additionalProperties": False,
}
COLOURS = {"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 1, "maxItems": 3}
NESTED = {
    "$defs": {"name": {"type": "string", "maxLength": 5}},
    "type": "object",
    "properties": {
        "who": {"$ref": "#/$defs/name"},
        "why": {"anyOf": [{"type": "null"}, {"const": {"a": 1}}]},
    },
    "required": ["who", "why"],
    "additionalProperties": False,
}


def is_command(value: Any) -> bool:
    return (
        list(value) == ["room", "on", "level"]
        and value["room"] in COMMAND["properties"]["room"]["enum"]  # type: ignore[index]
        and isinstance(value["on"], bool)
        and type(value["level"]) is int
        and 0 <= value["level"] <= 100
    )


def is_colours(value: Any) -> bool:
    return 1 <= len(value) <= 3 and set(value) <= {"red", "green"}


def is_nested(value: Any) -> bool:
    return (
        list(value) == ["who", "why"]
        and isinstance(value["who"], str)
        and len(value["who"]) <= 5
        and value["why"] in (None, {"a": 1})
    )


SCHEMAS: list[tuple[dict[str, Any], Callable[[Any], bool]]] = [
    (COMMAND, is_command),
    (COLOURS, is_colours),
    (NESTED, is_nested),
    ({"enum": [1.5, "one", None]}, lambda value: value in (1.5, "one", None)),
]
SAMPLINGS = [Sampling(), *(Sampling(temperature=1.5, seed=seed) for seed in range(6))]


@pytest.fixture(scope="module")
def exported_plain(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Exported:
    """A bundle whose template puts a space before the answer."""
    folder = tmp_path_factory.mktemp("exported-plain")
    rows = folder / "text.jsonl"
    rows.write_text(
        "".join(f'{{"prompt": "say {n}", "response": "word {n} it"}}\n' for n in range(20)),
        encoding="utf-8",
    )
    data = DataConfig(train=str(rows), template="Say: {prompt}\nSaid:")
    return train_and_export(folder, tiny_model, data)


@pytest.mark.parametrize("which", ["exported_text", "exported_plain"])
@pytest.mark.parametrize(("schema", "fits"), SCHEMAS, ids=["command", "colours", "nested", "enum"])
def test_every_answer_parses_and_fits_the_schema(
    request: pytest.FixtureRequest, which: str, schema: dict[str, Any], fits: Callable[[Any], bool]
) -> None:
    bundle = Bundle.open(request.getfixturevalue(which).bundle, num_threads=1)
    for answerer in (bundle.tuned(), bundle.base()):
        constraint = json_constraint(answerer, schema)
        for sampling in SAMPLINGS:
            answer = answerer.generate("say 3", 400, sampling, constraint=constraint)
            text = "".join(answer)
            assert answer.finish_reason == "end", text
            assert fits(json.loads(text)), text


def test_a_schema_s_text_is_as_good_and_another_request_changes_nothing(
    exported_text: Exported,
) -> None:
    tuned = Bundle.open(exported_text.bundle, num_threads=1).tuned()
    constraint = json_constraint(tuned, json.dumps(COMMAND))
    first = list(tuned.generate("say 3", 400, constraint=constraint))
    tuned.answer("something else")
    "".join(tuned.generate("say 4", 5, constraint=constraint))
    assert list(tuned.generate("say 3", 400, constraint=constraint)) == first


def test_a_constraint_that_allows_the_likeliest_tokens_changes_none(
    exported_text: Exported, exported_plain: Exported
) -> None:
    num_compared = 0
    for made in (exported_text, exported_plain):
        bundle = Bundle.open(made.bundle, num_threads=1)
        for answerer in (bundle.tuned(), bundle.base()):
            constraint = regex_constraint(answerer, r"(?s:.*)")
            for text in ("say 3", "the cat", "red", "where is it?", "a", "lamp on", "7", "dog"):
                free = list(answerer.generate(text, 8).ids())
                held = list(answerer.generate(text, 8, constraint=constraint).ids())
                # Special tokens and bytes that are no text are refused by every expression.
                plain = list(takewhile(partial(is_plain, bundle), free))
                assert held[: len(plain)] == plain
                num_compared += len(plain)
    assert num_compared


def is_plain(bundle: Bundle, token: int) -> bool:
    text = bundle.tokenizer.decode([token])
    return text != "" and text.isascii()


def test_an_expression_is_matched_as_a_whole(exported_plain: Exported) -> None:
    tuned = Bundle.open(exported_plain.bundle, num_threads=1).tuned()
    answer = tuned.generate("say 3", 20, constraint=regex_constraint(tuned, "[ab]{3}-[0-9]"))
    text = "".join(answer)
    assert (len(text), set(text[:3]) <= set("ab"), text[3]) == (5, True, "-")
    assert answer.finish_reason == "end"


def test_an_answer_that_is_cut_says_so(exported_text: Exported) -> None:
    tuned = Bundle.open(exported_text.bundle, num_threads=1).tuned()
    constraint = json_constraint(tuned, COMMAND)
    whole = tuned.generate("say 3", 400, constraint=constraint)
    num_tokens = len(list(whole.ids()))
    cut = tuned.generate("say 3", num_tokens - 1, constraint=constraint)
    assert len(list(cut.ids())) == num_tokens - 1
    assert cut.finish_reason == "length"
    exact = tuned.generate("say 3", num_tokens, constraint=constraint)
    assert list(exact.ids()) == whole.tokens
    assert exact.finish_reason == "end"


def test_any_object_begins_like_one(exported_text: Exported) -> None:
    tuned = Bundle.open(exported_text.bundle, num_threads=1).tuned()
    for sampling in SAMPLINGS:
        answer = tuned.generate("say 3", 60, sampling, constraint=json_constraint(tuned))
        text = "".join(answer)
        assert text.startswith("{")
        if answer.finish_reason == "end":
            assert isinstance(json.loads(text), dict)


def test_padding_special_and_virtual_tokens_are_never_allowed(exported_text: Exported) -> None:
    bundle = Bundle.open(exported_text.bundle, num_threads=1)
    tuned = bundle.tuned()
    answer = regex_constraint(tuned, r"(?s:.*)").begin()
    allowed = answer.allowed()
    size, end = bundle.manifest.shape.vocab_size, tuned.record.end_token_id
    assert allowed.shape == (size,)
    num_known = bundle.tokenizer.get_vocab_size()
    assert num_known < size
    assert not allowed[num_known:].any()
    assert np.flatnonzero(allowed[:3]).tolist() == [end]
    assert allowed[bundle.tokenizer.token_to_id("a")]
    answer.take(end)
    assert answer.is_complete


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "banana"}, "banana"),
        ({"type": "string", "format": "recipe"}, "recipe"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"$ref": "https://example.com/schema.json"}, "example.com"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ("{", "cannot be read"),
        ("[1]", "object"),
        ('{"items":' * 2000 + "{}" + "}" * 2000, "recursion"),
    ],
)
def test_a_schema_that_cannot_be_kept_to_is_refused(
    exported_text: Exported, schema: str | dict[str, Any], said: str
) -> None:
    tuned = Bundle.open(exported_text.bundle, num_threads=1).tuned()
    with pytest.raises(ConstraintError, match=said) as caught:
        json_constraint(tuned, schema)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_wrong_expression_is_refused(exported_text: Exported) -> None:
    tuned = Bundle.open(exported_text.bundle, num_threads=1).tuned()
    with pytest.raises(ConstraintError, match="regular expression"):
        regex_constraint(tuned, "(a")


def test_a_token_that_was_not_allowed_is_an_error(exported_text: Exported) -> None:
    tuned = Bundle.open(exported_text.bundle, num_threads=1).tuned()
    answer = json_constraint(tuned, COMMAND).begin()
    with pytest.raises(ConstraintError, match="any further"):
        answer.take(tuned.encoder.tokenizer.encode("x").ids[0])


def test_without_the_package_it_is_said_what_to_install(
    exported_text: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    tuned = Bundle.open(exported_text.bundle, num_threads=1).tuned()
    with pytest.raises(ConstraintError, match="llguidance") as caught:
        json_constraint(tuned)
    assert "ptune-tui[json]" in caught.value.hint
    assert tuned.answer("say 3") == tuned.answer("say 3")
