"""The chat's child: answers from a bundle over pipes, without torch."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from export.answering import Answerer
from export.precisions import PRECISIONS, Precision
from export.runtime import Bundle
from ptune_tui.conversation import (
    Answered,
    Ask,
    ChatFailed,
    Piece,
    Ready,
    Reply,
    Speaker,
    decode_ask,
    encode_line,
)
from ptune_tui.errors import explain


def serve(arguments: list[str]) -> int:
    """Answer requests from standard input until it ends; returns the exit code.

    Args:
        arguments (list[str]): The bundle and options, see `ptune_tui.conversation`.
    """
    parser = argparse.ArgumentParser(prog="ptune_tui.worker --chat")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--prompt")
    parser.add_argument("--precision", choices=PRECISIONS)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args(arguments)
    out = sys.stdout.buffer
    try:
        started = time.perf_counter()
        speakers, ready = open_chat(
            options.bundle, options.prompt, options.precision, options.threads, started
        )
    except Exception as error:
        # The other side shows any error as a sentence; a traceback over a pipe helps nobody.
        return _fail(out, None, error)
    _say(out, ready)
    for line in sys.stdin.buffer:
        request = decode_ask(line)
        try:
            for reply in answers(request, speakers):
                _say(out, reply)
        except Exception as error:
            # One request that cannot be answered must not end the chat.
            _fail(out, request.number, error)
    return 0


def open_chat(
    folder: Path, prompt: str | None, precision: Precision | None, num_threads: int, started: float
) -> tuple[dict[Speaker, Answerer], Ready]:
    """Open a bundle for a chat.

    Args:
        folder (Path): The bundle.
        prompt (str | None): Which prompt; None where there is just one.
        precision (Precision | None): None for the bundle's own choice.
        num_threads (int): 0 for the number of physical cores.
        started (float): `time.perf_counter()` when opening began.
    """
    bundle = Bundle.open(folder, precision, num_threads)
    tuned, base = bundle.tuned(prompt), bundle.base(prompt)
    ready = Ready(
        model=bundle.manifest.model_name,
        prompt=tuned.key.removeprefix("tuned:"),
        precision=bundle.precision,
        labels=tuned.record.labels,
        num_virtual_tokens=tuned.num_virtual_tokens,
        seconds=time.perf_counter() - started,
    )
    return {"tuned": tuned, "base": base}, ready


def answers(request: Ask, speakers: dict[Speaker, Answerer]) -> Iterator[Reply]:
    """The replies to one request, speaker by speaker."""
    for speaker in request.speakers:
        answerer = speakers[speaker]
        started = time.perf_counter()
        if answerer.record.labels is not None:
            found = answerer.classify(request.text)
            yield Answered(
                request.number,
                speaker,
                found.label,
                num_tokens=1,
                seconds=time.perf_counter() - started,
                probability=math.exp(found.log_probability),
            )
            continue
        pieces = []
        answer = answerer.generate(request.text)
        for piece in answer:
            pieces.append(piece)
            yield Piece(request.number, speaker, piece, len(answer.tokens))
        yield Answered(
            request.number,
            speaker,
            "".join(pieces),
            num_tokens=len(answer.tokens),
            seconds=time.perf_counter() - started,
            probability=None,
        )


def _say(out: BinaryIO, reply: Reply) -> None:
    out.write(encode_line(reply))
    out.flush()


def _fail(out: BinaryIO, number: int | None, error: Exception) -> int:
    reason = explain(error)
    _say(out, ChatFailed(number, reason.category, reason.message, reason.hint))
    return reason.exit_code
