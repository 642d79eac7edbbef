"""How fast a bundle decodes on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.answering import Answerer


def decode_tokens_per_second(answerer: Answerer, text: str, num_tokens: int) -> float:
    """Tokens a second of plain decoding behind a request, end tokens ignored.

    Args:
        answerer (Answerer): What to measure.
        text (str): The request.
        num_tokens (int): Tokens to decode.
    """
    logits, position = answerer.read(text)
    session = answerer.bundle.session
    started = time.perf_counter()
    for step in range(num_tokens):
        logits = session.forward([int(logits.argmax())], position + step)[0]
    return num_tokens / (time.perf_counter() - started)
