"""What contenders without a prompt are told: examples that fit, instructions, ends of answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from export.encoding import RowEncoder
from export.preface import Example, Preface
from export.template import Renderer, Template
from ptune_tui.data import data_path, training_path, validation_path
from ptune_tui.errors import DataError
from ptune_tui.evaluation.examples import choose_examples, default_num_examples, unscored
from ptune_tui.evaluation.told import UntunedTask
from ptune_tui.rows import Row
from tests.conftest import CHAT_TEMPLATE

LABELS = ["bad", "good"]
TRAIN = [
    Row(f"the cat {number}", LABELS[number % 5 == 0], "t.jsonl", number) for number in range(50)
]
CHAT = Template("chat", CHAT_TEMPLATE, "<|endoftext|>", "<|im_end|>")
TEXT = Template("Text: {prompt}\nKind:")


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Tokenizer:
    return Tokenizer.from_file(str(tiny_model / "tokenizer.json"))


def task(
    tokenizer: Tokenizer,
    template: Template = TEXT,
    labels: list[str] | None = LABELS,
    context_length: int = 512,
) -> UntunedTask:
    return UntunedTask(tokenizer, template, 2, labels, 60, 3, context_length, TRAIN[:10])


def test_examples_are_even_over_the_labels_and_seeded() -> None:
    chosen = choose_examples(TRAIN, LABELS, 8, seed=1)
    assert Counter(row.response for row in chosen) == {"bad": 4, "good": 4}
    assert chosen == choose_examples(TRAIN, LABELS, 8, seed=1)
    assert chosen != choose_examples(TRAIN, LABELS, 8, seed=2)
    # A label that runs out leaves its turns to the others.
    assert len({row.line for row in choose_examples(TRAIN, LABELS, 40, seed=1)}) == 40
    assert len(choose_examples(TRAIN, None, 100, seed=1)) == 50
    assert default_num_examples([str(number) for number in range(77)]) == 77


def test_a_few_shot_row_reads_like_rows_with_their_responses(tokenizer: Tokenizer) -> None:
    told = task(tokenizer).few_shot(TRAIN, 2, seed=0)
    first, second = told.preface.examples
    encoder = task(tokenizer).encoder(told)
    text = tokenizer.decode(encoder.encode_prompt("the dog")[0], skip_special_tokens=False)
    assert text == (
        f"Text: {first.prompt}\nKind: {first.response}\n"
        f"Text: {second.prompt}\nKind: {second.response}\nText: the dog\nKind:"
    )
    assert told.title == "few-shot (2 examples)"
    assert tokenizer.decode([told.end_token_id]) == "\n"


def test_examples_in_a_chat_are_earlier_turns() -> None:
    preface = Preface("Be brief.", (Example("one", "1"),))
    text = Renderer(CHAT, preface).render("two").text
    assert text == (
        "<|im_start|>user\nBe brief.\n\none<|im_end|>\n<|im_start|>assistant\n1<|im_end|>\n"
        "<|im_start|>user\ntwo<|im_end|>\n<|im_start|>assistant\n"
    )


def test_examples_that_do_not_fit_are_left_out_and_it_is_said(tokenizer: Tokenizer) -> None:
    short = task(tokenizer, context_length=150)
    told = short.few_shot(TRAIN, 40, seed=0)
    num_examples = len(told.preface.examples)
    assert 0 < num_examples < 40
    assert f"{num_examples} examples of 40: more do not fit" in told.detail
    rows = [short.encoder(told).encode_prompt(row.prompt)[0] for row in TRAIN[:10]]
    assert max(map(len, rows)) + 3 + 8 <= 150
    with pytest.raises(DataError, match="No example fits"):
        task(tokenizer, context_length=30).few_shot(TRAIN, 4, seed=0)


def test_rows_are_cut_as_in_training_however_long_the_preface_is(tokenizer: Tokenizer) -> None:
    short = task(tokenizer)
    long = "the dog sat " * 100
    bare = RowEncoder(tokenizer, TEXT, 2).encode_prompt(long, 60)[0]
    told = short.few_shot(TRAIN, 4, seed=0)
    ids, was_cut = short.encoder(told).encode_prompt(long, told.max_prompt_tokens)
    assert was_cut
    assert ids[-50:] == bare[-50:]
    assert len(ids) == told.max_prompt_tokens == 60 + len(ids) - len(bare)


def test_an_instruction_is_proposed_from_the_labels_or_given(tokenizer: Tokenizer) -> None:
    proposed = task(tokenizer).instructed(None)
    assert proposed.preface.instruction.endswith("labels: bad, good.")
    whole = task(tokenizer).instructed("Is it good? {prompt}\nAnswer:")
    encoder = task(tokenizer).encoder(whole)
    assert tokenizer.decode(encoder.encode_prompt("the cat")[0]) == "Is it good? the cat\nAnswer:"
    with pytest.raises(DataError, match="no instruction can be proposed"):
        task(tokenizer, labels=None).instructed(None)


def test_free_text_of_a_base_ends_with_the_line_but_not_in_a_chat(tokenizer: Tokenizer) -> None:
    free = task(tokenizer, labels=None).base()
    assert tokenizer.decode([free.end_token_id]) == "\n"
    assert free.answers([" \nyes\nText: more", "no "]) == ["yes", "no"]
    chat = task(tokenizer, CHAT, labels=None).base()
    assert chat.end_token_id == 2
    assert chat.answers(["yes\nmore"]) == ["yes\nmore"]
    assert task(tokenizer).base().end_token_id == 2


def test_a_row_that_is_scored_is_no_candidate_and_unknown_labels_are_refused(
    tokenizer: Tokenizer,
) -> None:
    told = task(tokenizer, context_length=4096).few_shot(TRAIN, 50, seed=0)
    scored = {row.prompt for row in TRAIN[:10]}
    assert len(told.preface.examples) == 40
    assert not scored & {example.prompt for example in told.preface.examples}
    assert "10 of its rows are scored" in told.detail
    with pytest.raises(DataError, match=r"Every row of t\.jsonl is among the rows"):
        task(tokenizer).few_shot(TRAIN[:10], 4, seed=0)
    with pytest.raises(DataError, match=r"t\.jsonl:7: the response 'ugly' is not one of"):
        task(tokenizer).few_shot([*TRAIN, Row("a dog", "ugly", "t.jsonl", 7)], 4, seed=0)


def test_another_right_answer_of_a_scored_row_gives_it_away_too() -> None:
    scored = [Row("q", "a", "s", 1, references=("a", "b"))]
    train = [Row("q", "b", "t", 1), Row("q", "c", "t", 2), Row("r", "a", "t", 3)]
    assert unscored(train, scored) == train[1:]


def test_a_built_in_set_is_taken_for_its_training_rows() -> None:
    assert training_path("support_inbox").name == "train.jsonl"
    assert training_path("support_inbox").is_file()


def test_a_built_in_set_can_be_what_is_validated_by() -> None:
    path = validation_path("train.jsonl", "support_inbox")
    assert path is not None
    assert path == data_path("support_inbox")
    assert path.is_file()
