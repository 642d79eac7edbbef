"""The chat's child: answers from a bundle over pipes, without torch."""

from __future__ import annotations

import argparse
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from export.answering import Answerer
from export.labels import label_probabilities
from export.precisions import PRECISIONS, Precision
from export.runtime import Bundle
from ptune_tui.conversation import (
    Answered,
    Ask,
    ChatFailed,
    EndAnswer,
    Piece,
    Ready,
    Reply,
    Speaker,
    decode_request,
    encode_line,
)
from ptune_tui.errors import explain
from ptune_tui.evaluation.contenders import scores_all_labels


class Requests:
    """Requests in order, read beside the work, so that an answer can be ended while it is made.

    Args:
        stream (BinaryIO): Where they come from.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._asked: queue.SimpleQueue[Ask | None] = queue.SimpleQueue()  # None behind the last
        self._ended: set[tuple[int, Speaker]] = set()

    def __iter__(self) -> Iterator[Ask]:
        threading.Thread(target=self._read, daemon=True).start()
        return iter(self._asked.get, None)

    def is_ended(self, request: Ask, speaker: Speaker) -> bool:
        """Whether no more of an answer is wanted.

        Args:
            request (Ask): To what.
            speaker (Speaker): Whose.
        """
        return (request.number, speaker) in self._ended

    def _read(self) -> None:
        try:
            for line in self._stream:
                match decode_request(line):
                    case Ask() as asked:
                        self._asked.put(asked)
                    case EndAnswer(number, speaker):
                        self._ended.add((number, speaker))
        finally:
            self._asked.put(None)


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
    requests = Requests(sys.stdin.buffer)
    for request in requests:
        try:
            for reply in answers(request, speakers, partial(requests.is_ended, request)):
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


def answers(
    request: Ask,
    speakers: dict[Speaker, Answerer],
    is_ended: Callable[[Speaker], bool] = lambda _: False,
) -> Iterator[Reply]:
    """The replies to one request, speaker by speaker.

    Args:
        request (Ask): The request.
        speakers (dict[Speaker, Answerer]): Who can answer.
        is_ended (Callable[[Speaker], bool]): Asked before each token; true ends that answer.
    """
    for speaker in request.speakers:
        answerer = speakers[speaker]
        started = time.perf_counter()
        if is_ended(speaker):
            yield Answered(request.number, speaker, "", 0, 0.0, None, was_ended=True)
            continue
        if answerer.record.labels is not None:
            found = answerer.classify(
                request.text, scores_all_labels(answerer.record.labels, asked=None)
            )
            scores = found.all_scores
            yield Answered(
                request.number,
                speaker,
                found.label,
                num_tokens=0,
                seconds=time.perf_counter() - started,
                probability=float(label_probabilities(scores).max()) if scores else None,
            )
            continue
        pieces = []
        answer = answerer.generate(request.text, is_cancelled=partial(is_ended, speaker))
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
            was_ended=answer.finish_reason is None,
        )


def _say(out: BinaryIO, reply: Reply) -> None:
    out.write(encode_line(reply))
    out.flush()


def _fail(out: BinaryIO, number: int | None, error: Exception) -> int:
    reason = explain(error)
    _say(out, ChatFailed(number, reason.category, reason.message, reason.hint))
    return reason.exit_code
