"""The task that shows how rows become tokens, and on which of them the loss is taken."""

from __future__ import annotations

import time
from collections.abc import Iterator

from export.encoding import EncodedRow, RowEncoder
from ptune_tui.data import encode_rows, load_data, prompt_limit
from ptune_tui.engine.model import load_tokenizer
from ptune_tui.events import (
    Event,
    Notice,
    PreviewMade,
    PreviewRow,
    StageFinished,
    StageStarted,
    TaskFinished,
)
from ptune_tui.models import resolve
from ptune_tui.tasks import PreviewTask


def preview(task: PreviewTask) -> Iterator[Event]:
    """Tokenise the first rows.

    Args:
        task (PreviewTask): Which model and which rows.
    """
    started = time.perf_counter()
    yield StageStarted("tokenise", time.time())
    data = load_data(task.data, seed=0)
    for sentence in data.about:
        yield Notice("columns", sentence)
    text = load_tokenizer(resolve(task.model.source).path)
    template = text.template(data.template, data.labels is None)
    encoder = RowEncoder(text.tokenizer, template, text.end_token_id)
    limit, _ = prompt_limit(data.train + data.validation, encoder, task.data.max_tokens)
    encoded = encode_rows(data.train[: task.num_rows], encoder, limit)
    yield PreviewMade([_preview_row(row, encoder) for row in encoded])
    yield StageFinished("tokenise", time.perf_counter() - started)
    yield TaskFinished(time.perf_counter() - started)


def _preview_row(row: EncodedRow, encoder: RowEncoder) -> PreviewRow:
    num_prompt, num_response = len(row.prompt_ids), len(row.response_ids)
    return PreviewRow(
        pieces=encoder.pieces([*row.prompt_ids, *row.response_ids]),
        in_loss=[False] * num_prompt + [True] * num_response,
        was_cut=row.was_cut,
    )
