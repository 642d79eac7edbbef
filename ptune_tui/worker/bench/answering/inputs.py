"""What the answering contenders are asked, made of a data set: prompts, rows and two labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

import msgspec

from export.encoding import RowEncoder
from ptune_tui.answering_speed import (
    MEMORY_TOKENS,
    SCORED_VIRTUAL_TOKENS,
    SHORT_TOKENS,
    VIRTUAL_LENGTHS,
    AnsweringSetting,
)
from ptune_tui.data import DataSet
from ptune_tui.errors import DataError
from ptune_tui.rows import Row
from ptune_tui.worker.bench.answering.files import Inputs, ScoredRow

Item = TypeVar("Item")


def make_inputs(
    setting: AnsweringSetting, data: DataSet, encoder: RowEncoder, context_length: int
) -> Inputs:
    """What the contenders are asked.

    Args:
        setting (AnsweringSetting): Lengths and numbers.
        data (DataSet): Texts and labels.
        encoder (RowEncoder): Template and tokenizer.
        context_length (int): Tokens that the model was made for.

    Raises:
        DataError: Rows are to be scored and have no two labels.
    """
    tokenizer = encoder.tokenizer
    longest = max(*setting.prefill_lengths, MEMORY_TOKENS, max(VIRTUAL_LENGTHS), SHORT_TOKENS)
    ids = tokenizer.encode(_long_text(data.train, longest), add_special_tokens=False).ids
    labels: list[str] = []
    rows: list[ScoredRow] = []
    if "scoring" in setting.measures:
        labels = two_labels(data.train, encoder, setting.data)
        limit = context_length - SCORED_VIRTUAL_TOKENS - SHORT_TOKENS
        rows = [
            ScoredRow(row.prompt, encoder.encode_prompt(row.prompt, limit)[0])
            for row in rows_to_score(data, setting.num_rows)
        ]
    return Inputs(
        ids=ids[:longest],
        request=tokenizer.decode(ids[:SHORT_TOKENS]),
        template=msgspec.to_builtins(encoder.renderer.template),
        lead_ids=encoder.lead_ids(),
        end_token_id=encoder.end_token_id,
        context_length=context_length,
        labels=labels,
        label_ids=[encoder.encode_response(label) for label in labels],
        rows=rows,
    )


def rows_to_score(data: DataSet, num_rows: int) -> list[Row]:
    """So many rows of a data set, all of it before one comes again.

    Args:
        data (DataSet): Its held-out rows come behind the others.
        num_rows (int): How many.
    """
    return list(islice(_repeated([*data.train, *data.validation]), num_rows))


def two_labels(rows: Sequence[Row], encoder: RowEncoder, source: str) -> list[str]:
    """The two most frequent responses whose first tokens differ.

    Args:
        rows (Sequence[Row]): Rows with responses.
        encoder (RowEncoder): Makes tokens of them.
        source (str): Where they came from.

    Raises:
        DataError: All responses begin with the same token.
    """
    responses = [response for response, _ in Counter(row.response for row in rows).most_common()]
    first = encoder.encode_response(responses[0])[0]
    for other in responses[1:]:
        if encoder.encode_response(other)[0] != first:
            return [responses[0], other]
    raise DataError(
        f"All responses of {source} begin with the token of {responses[0]!r}, so no two of them "
        "can be told apart by it.",
        "Take rows with labels, or leave `scoring` out of `--only`.",
    )


def _long_text(rows: Sequence[Row], num_tokens: int) -> str:
    """Real text of at least so many tokens: a word is one at least."""
    words = " ".join(row.prompt for row in rows).split()
    return " ".join(islice(_repeated(words), 2 * num_tokens))


def _repeated(items: Sequence[Item]) -> Iterator[Item]:
    while True:
        yield from items
