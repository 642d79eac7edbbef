"""The task that shows how rows become tokens, and on which of them the loss is taken.

It is asked again at every pause of who writes a template, so the tokenizer is read from its card,
without torch and transformers, once that was made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from export.encoding import EncodedRow, RowEncoder
from ptune_tui.data import DataSet, encode_rows, load_data, prompt_limit
from ptune_tui.events import (
    Event,
    Notice,
    PreviewMade,
    PreviewRow,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFinished,
)
from ptune_tui.models import resolve
from ptune_tui.rows import Row
from ptune_tui.tasks import PreviewTask
from ptune_tui.tokenizer_card import TokenizerCard, card_path, read_card
from ptune_tui.worker.channel import Channel


def preview(task: PreviewTask, channel: Channel) -> Iterator[Event]:
    """Tokenise the first rows.

    Args:
        task (PreviewTask): Which model and which rows.
        channel (Channel): Where a download says how far it is.
    """
    started = time.perf_counter()
    yield StageStarted("tokenise", time.time())
    data = load_data(task.data, seed=0)
    for sentence in data.about:
        yield Notice("columns", sentence)
    model = resolve(
        task.model.source,
        lambda done, total: channel.progress(StageProgress("load", done, total, "the model")),
    )
    encoder = _card(model.path, model.name).encoder(data.template, data.labels is None)
    limit, _ = prompt_limit(data.train + data.validation, encoder, task.data.max_tokens)
    rows = data.train[: task.num_rows]
    encoded = encode_rows(rows, encoder, limit)
    yield _made(data, encoder, zip(rows, encoded, strict=True))
    yield StageFinished("tokenise", time.perf_counter() - started)
    yield TaskFinished(time.perf_counter() - started)


def _card(model: Path, name: str) -> TokenizerCard:
    path = card_path(model)
    card = read_card(path)
    if card is None:
        from ptune_tui.worker.tokenizer import write_card  # torch: only where there is none yet

        card = write_card(model, name, path)
    return card


def _made(
    data: DataSet,
    encoder: RowEncoder,
    rows: Iterator[tuple[Row, EncodedRow]],
) -> PreviewMade:
    return PreviewMade(
        rows=[_preview_row(row, encoded, encoder) for row, encoded in rows],
        template=encoder.renderer.template.text,
        about=list(data.about),
        num_train_rows=len(data.train),
        num_validation_rows=len(data.validation),
        labels=data.labels,
    )


def _preview_row(row: Row, encoded: EncodedRow, encoder: RowEncoder) -> PreviewRow:
    num_prompt, num_response = len(encoded.prompt_ids), len(encoded.response_ids)
    return PreviewRow(
        pieces=encoder.pieces([*encoded.prompt_ids, *encoded.response_ids]),
        in_loss=[False] * num_prompt + [True] * num_response,
        was_cut=encoded.was_cut,
        line=row.line,
    )
