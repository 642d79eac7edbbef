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
    write_card(Path(task.model), task.name, Path(task.destination))
    yield TaskFinished(time.perf_counter() - started)


def write_card(model: Path, name: str, destination: Path) -> TokenizerCard:
    """Read a model's tokenizer through transformers, and keep it as a card.

    Args:
        model (Path): A GGUF file or a folder.
        name (str): What to call it.
        destination (Path): The card's file.
    """
    text = load_tokenizer(model)
    card = TokenizerCard(
        name=name,
        tokenizer_json=text.tokenizer.to_str(),
        chat_template=text.chat_template,
        bos_token=text.bos_token,
        eos_token=text.eos_token,
        end_token_id=text.end_token_id,
    )
    destination.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(destination, msgspec.json.encode(card))
    return card
