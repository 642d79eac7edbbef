"""Virtual tokens for other people's programs: special tokens, placed by a chat template.

Our runtime hands a graph ids from the vocabulary's end on. Other programs know only text, so the
virtual tokens get names there, `<|soft_0|>` and so on, with those very ids; a chat template writes
them in front of what it always wrote. Whoever types such a name into one of those programs
addresses a virtual token, as with every special token there; our own tokenizer does not know them.

Legend: V rows of the embedding, P virtual tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer

from export.errors import NotCarriedError
from export.template import CHAT, Renderer, Template

# Beginnings and ends that tokenizers treat in their own ways at the start of a text.
_PROBES = ("a", "Review", " x", "\n", "7", "é", "'s", "<")
_FILLER = "<|unused_{}|>"


@dataclass(frozen=True)
class SoftTokenizer:
    """A tokenizer that knows virtual tokens.

    Attributes:
        tokenizer: The tokenizer.
        vocab_size: V, the id of the first virtual token.
        names: Of the virtual tokens, ids V, V + 1, ...
        fillers: Names of the ids between the tokenizer's own tokens and V.
    """

    tokenizer: Tokenizer
    vocab_size: int
    names: list[str]
    fillers: list[str]

    def text(self, num_virtual_tokens: int) -> str:
        """The first P virtual tokens as text."""
        return "".join(self.names[:num_virtual_tokens])


def add_soft_tokens(tokenizer_json: str, vocab_size: int, num_virtual_tokens: int) -> SoftTokenizer:
    """A tokenizer with virtual tokens from id V on.

    What it puts in front of every text by itself is left to the chat template, which writes it
    behind the virtual tokens. A tokenizer hands out its next free id, whatever is asked; where
    an embedding has more rows than the tokenizer has tokens, tokens that nothing uses fill the gap.

    Args:
        tokenizer_json (str): The model's tokenizer; it stays as it is.
        vocab_size (int): V.
        num_virtual_tokens (int): How many to add.

    Raises:
        NotCarriedError: The tokenizer has ids beyond the embedding.
    """
    content = json.loads(tokenizer_json)
    tokenizer = Tokenizer.from_str(json.dumps(content | {"post_processor": None}))
    taken = tokenizer.get_vocab(with_added_tokens=True)
    stem = _free_stem(taken)
    fillers = _add_fillers(tokenizer, taken, vocab_size)
    names = [f"<|{stem}_{number}|>" for number in range(num_virtual_tokens)]
    tokenizer.add_special_tokens(_special(names))
    if tokenizer.token_to_id(names[0]) != vocab_size:
        raise NotCarriedError(
            f"The tokenizer has ids up to {max(taken.values())}, the embedding "
            f"only {vocab_size} rows, so no id is left where virtual tokens could begin.",
            "Export a bundle: its own runtime needs no names for them.",
        )
    return SoftTokenizer(tokenizer, vocab_size, names, fillers)


def read_soft_tokens(tokenizer: Tokenizer, vocab_size: int) -> SoftTokenizer:
    """What `add_soft_tokens` made, from a tokenizer read back; the fillers are not looked up."""
    names: list[str] = []
    while (name := tokenizer.id_to_token(vocab_size + len(names))) is not None:
        names.append(name)
    return SoftTokenizer(tokenizer, vocab_size, names, [])


def soft_chat_template(
    soft: SoftTokenizer, plain: Tokenizer, template: Template, num_virtual_tokens: int
) -> str:
    """A Jinja chat template that writes the virtual tokens first, then what training wrote.

    Where training used the model's chat template, that is it. Where it used a text, the last
    message stands in the place of `{prompt}`, behind the tokens that the tokenizer begins every
    text with.

    Args:
        soft (SoftTokenizer): The tokenizer with virtual tokens.
        plain (Tokenizer): The tokenizer of training.
        template (Template): Of training.
        num_virtual_tokens (int): P.

    Raises:
        NotCarriedError: The tokenizer treats a text behind virtual tokens otherwise than alone.
    """
    renderer = Renderer(template)
    beginning = soft.text(num_virtual_tokens)
    if not renderer.is_chat:
        beginning += special_beginning(plain)
    _check_tokens(soft, plain, renderer, num_virtual_tokens)
    if template.text == CHAT:
        assert template.chat_template is not None  # the renderer refused it otherwise
        return f"{{{{ {_literal(beginning)} }}}}{template.chat_template}"
    return (
        f"{{{{ {_literal(beginning + renderer.lead)} }}}}{{{{ messages[-1]['content'] }}}}"
        f"{{{{ {_literal(renderer.tail)} }}}}"
    )


def special_beginning(tokenizer: Tokenizer) -> str:
    """What the tokenizer puts in front of every text, as text.

    Raises:
        NotCarriedError: It puts something behind every text, too.
    """
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    ids = tokenizer.encode("a", add_special_tokens=True).ids
    start = len(ids) - len(bare)
    if ids[start:] != bare:
        raise NotCarriedError(
            f"The tokenizer puts tokens behind every text ({ids} for {bare}), which no chat "
            "template can write before an answer.",
            "Export a bundle, or train with a template of the model's own.",
        )
    return "".join(tokenizer.id_to_token(token) or "" for token in ids[:start])


def _check_tokens(
    soft: SoftTokenizer, plain: Tokenizer, renderer: Renderer, num_virtual_tokens: int
) -> None:
    """Refuse a tokenizer that glues something to the beginning of a text but not behind tokens."""
    soft_ids = list(range(soft.vocab_size, soft.vocab_size + num_virtual_tokens))
    beginning = soft.text(num_virtual_tokens)
    beginning += "" if renderer.is_chat else special_beginning(plain)
    for probe in _PROBES:
        text = renderer.render(probe).text
        expected = plain.encode(text, add_special_tokens=not renderer.is_chat).ids
        found = soft.tokenizer.encode(beginning + text, add_special_tokens=False).ids
        if found != [*soft_ids, *expected]:
            raise NotCarriedError(
                f"The tokenizer cuts {text!r} otherwise behind virtual tokens than alone: "
                f"{found[num_virtual_tokens:]} instead of {expected}.",
                "Other programs would answer something else; export a bundle, whose own runtime "
                "joins tokens and not texts.",
            )


def _add_fillers(tokenizer: Tokenizer, taken: dict[str, int], vocab_size: int) -> list[str]:
    """Name every id below V that has no name; returns the names."""
    first = max(taken.values(), default=-1) + 1
    fillers = [_FILLER.format(number) for number in range(first, vocab_size)]
    if fillers:
        tokenizer.add_special_tokens(_special(fillers))
    return fillers


def _special(names: list[str]) -> list[AddedToken]:
    return [AddedToken(name, special=True, normalized=False) for name in names]


def _free_stem(taken: dict[str, int]) -> str:
    """`soft`, or with a number where the model has such tokens: it may be an export of ours."""
    stem, number = "soft", 1
    while any(name.startswith(f"<|{stem}_") for name in taken):
        number += 1
        stem = f"soft{number}"
    return stem


def _literal(text: str) -> str:
    """A text as Jinja's string literal."""
    return json.dumps(text, ensure_ascii=False)
