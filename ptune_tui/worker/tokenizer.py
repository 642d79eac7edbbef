"""The task that reads a model's tokenizer for programs that cannot: its card goes to a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ptune_tui.engine.model import load_tokenizer
from ptune_tui.events import Event, TaskFinished
from ptune_tui.tasks import TokenizerTask, write_atomically
from ptune_tui.tokenizer_card import TokenizerCard


def read_tokenizer(task: TokenizerTask) -> Iterator[Event]:
    """Write the card of a model's tokenizer.

    Args:
        task (TokenizerTask): Which model, and where to.
    """
    started = time.perf_counter()
    text = load_tokenizer(Path(task.model))
    card = TokenizerCard(
        name=task.name,
        tokenizer_json=text.tokenizer.to_str(),
        chat_template=text.chat_template,
        bos_token=text.bos_token,
        eos_token=text.eos_token,
        end_token_id=text.end_token_id,
    )
    destination = Path(task.destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(destination, msgspec.json.encode(card))
    yield TaskFinished(time.perf_counter() - started)
