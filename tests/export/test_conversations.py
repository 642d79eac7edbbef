"""Conversations as rows: the chat template's own text and tokens, and what goes when it is long."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers

from export.encoding import RowEncoder
from export.errors import RowError
from export.template import CHAT, Messages
from ptune_tui.data import encode_rows
from ptune_tui.engine.model import load_tokenizer
from ptune_tui.errors import DataError
from ptune_tui.reading.row import Row, Turn

TALK = [
    ("system", "be brief"),
    ("user", "first question"),
    ("assistant", "an answer"),
    ("user", "second question, which is longer"),
]


def messages(*turns: tuple[str, str]) -> Messages:
    return [{"role": role, "content": content} for role, content in turns]


@pytest.fixture
def encoder(tiny_model: Path) -> RowEncoder:
    text = load_tokenizer(tiny_model)
    return RowEncoder(text.tokenizer, text.template(CHAT, False), text.end_token_id)


@pytest.mark.parametrize("turns", [TALK, TALK[1:], TALK[1:2], TALK[:2]])
def test_a_conversation_has_the_tokens_that_transformers_gives_it(
    encoder: RowEncoder, tiny_model: Path, turns: list[tuple[str, str]]
) -> None:
    wrapped = transformers.AutoTokenizer.from_pretrained(tiny_model)
    expected = wrapped.apply_chat_template(messages(*turns), add_generation_prompt=True)
    assert encoder.encode_prompt(messages(*turns)) == (expected["input_ids"], False)
    row = Row("unused", "yes", "f", 1, turns=tuple(Turn(*turn) for turn in turns))
    (encoded,) = encode_rows([row], encoder, 500)
    assert encoded.prompt_ids == expected["input_ids"]
    assert encoded.response_ids == encoder.encode_response("yes")


def test_of_a_long_conversation_the_oldest_turns_go_first(encoder: RowEncoder) -> None:
    whole, _ = encoder.encode_prompt(messages(*TALK))
    shorter, _ = encoder.encode_prompt(messages(TALK[0], TALK[3]))
    assert encoder.encode_prompt(messages(*TALK), len(whole)) == (whole, False)
    assert encoder.encode_prompt(messages(*TALK), len(whole) - 1) == (shorter, True)
    cut, was_cut = encoder.encode_prompt(messages(*TALK), len(shorter) - 2)
    assert was_cut
    assert len(cut) == len(shorter) - 2
    kept = encoder.tokenizer.decode(cut, skip_special_tokens=False)
    assert "be brief" in kept
    assert "longer" in kept
    assert "first" not in kept


def test_a_conversation_that_does_not_fit_is_named_with_its_line(encoder: RowEncoder) -> None:
    row = Row(
        "unused", "yes", "talk.jsonl", 7, turns=(Turn("system", "x " * 50), Turn("user", "y"))
    )
    with pytest.raises(RowError):
        encoder.encode_prompt(row.request(is_chat=True), 20)
    with pytest.raises(DataError, match=r"talk\.jsonl:7: "):
        encode_rows([row], encoder, 20)
