"""Virtual tokens under names: the right ids, in front of what training wrote, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from export.errors import NotCarriedError
from export.soft_tokens import add_soft_tokens, read_soft_tokens, soft_chat_template
from export.template import Renderer, Template
from tests.conftest import CHAT_TEMPLATE

TEXTS = ("the cat", " x", "", "'quoted' \"twice\"", "{{ 7 }}", "na\u00efve \\n \U0001f642\n")


@pytest.fixture
def plain(tiny_model: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    tokenizer.no_padding()
    return tokenizer


def rendered(chat_template: str, text: str) -> str:
    """By the sandbox that training renders with."""
    return Renderer(Template("chat", chat_template)).chat([{"role": "user", "content": text}])


@pytest.mark.parametrize(
    "template",
    [
        Template("chat", CHAT_TEMPLATE),
        Template("Review: {prompt}\nSentiment:"),
        Template('"{prompt}" says \u00e9\\n'),
    ],
)
def test_the_chat_template_writes_the_ids_of_training_behind_the_virtual_tokens(
    plain: Tokenizer, template: Template
) -> None:
    soft = add_soft_tokens(plain.to_str(), 330, 9)
    chat_template = soft_chat_template(soft, plain, template, 4)
    for text in TEXTS:
        expected = plain.encode(Renderer(template).render(text).text, add_special_tokens=False).ids
        found = soft.tokenizer.encode(rendered(chat_template, text), add_special_tokens=False).ids
        assert found == [330, 331, 332, 333, *expected]


def test_what_the_tokenizer_begins_every_text_with_stands_behind_the_virtual_tokens(
    plain: Tokenizer,
) -> None:
    plain.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    soft = add_soft_tokens(plain.to_str(), 330, 2)
    chat_template = soft_chat_template(soft, plain, Template("Say {prompt}"), 2)
    found = soft.tokenizer.encode(rendered(chat_template, "cat"), add_special_tokens=False).ids
    assert found == [330, 331, *plain.encode("Say cat").ids]
    assert found[2] == 0


def test_every_id_below_the_embeddings_end_has_a_name_and_the_rest_is_as_before(
    plain: Tokenizer,
) -> None:
    soft = add_soft_tokens(plain.to_str(), 330, 3)
    own = plain.get_vocab_size()
    assert len(soft.fillers) == 330 - own
    assert all(soft.tokenizer.id_to_token(token) is not None for token in range(333))
    assert read_soft_tokens(soft.tokenizer, 330).names == soft.names
    for text in TEXTS:
        assert soft.tokenizer.encode(text).ids == plain.encode(text).ids
    assert plain.token_to_id("<|soft_0|>") is None


def test_names_that_a_model_has_already_are_not_given_twice(plain: Tokenizer) -> None:
    once = add_soft_tokens(plain.to_str(), 330, 3)
    twice = add_soft_tokens(once.tokenizer.to_str(), 333, 2)
    assert twice.names == ["<|soft2_0|>", "<|soft2_1|>"]
    assert twice.tokenizer.token_to_id("<|soft_2|>") == 332


def test_a_tokenizer_larger_than_its_embedding_is_refused(plain: Tokenizer) -> None:
    with pytest.raises(NotCarriedError, match="only 300 rows"):
        add_soft_tokens(plain.to_str(), 300, 2)


def test_a_tokenizer_that_glues_a_space_to_the_first_word_only_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.add_tokens(["<unk>", "a", "\u2581", "\u2581a"])
    vocab = {"<unk>": 0, "a": 1, "\u2581": 2, "\u2581a": 3}
    tokenizer.model = models.BPE(vocab, [("\u2581", "a")], unk_token="<unk>")
    soft = add_soft_tokens(tokenizer.to_str(), 6, 2)
    with pytest.raises(NotCarriedError, match="otherwise behind virtual tokens"):
        soft_chat_template(soft, tokenizer, Template("{prompt}\n"), 2)
