"""What stands beside our cells in torch: the base, the base with examples, and LoRA through PEFT.

    python bench/quality_torch.py REQUEST.json RESULT.json

LoRA is `ptune eval`'s own (`ptune_tui.worker.lora`). All three are scored by the program's own
`Evaluator`.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
from pathlib import Path
from typing import Literal

import msgspec
import torch
from msgspec import Struct

from export.encoding import RowEncoder, answer_limit
from export.preface import Example, Preface
from ptune_tui.config import DataConfig
from ptune_tui.data import closed_set, encode_rows, prompt_limit
from ptune_tui.engine.evaluate import Evaluator
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.evaluation.told import line_break_token
from ptune_tui.hardware import default_num_threads
from ptune_tui.models import resolve
from ptune_tui.rows import read_rows
from ptune_tui.worker.lora import LoraTraining, lora_model, train_lora

_MAX_TOKENS = 512
_ANSWER_ROOM = 16  # an answer may be so much longer than the longest response
_WARMUP_SHARE = 0.03


class Request(Struct, frozen=True):
    """What to compute.

    Attributes:
        kind: Which of the four; `agreement` scores rows by the base and by a LoRA of zeros.
        train: Training rows.
        test: Rows to score.
        template: How a row becomes text.
        is_free_text: Whether answers are generated.
        max_rows: Score only so many, or all.
        seed: Of LoRA's order and first values.
        batch_size: LoRA's rows a step.
        training_seconds: LoRA's time.
        max_steps: LoRA's steps, where fewer are wanted.
        num_examples: Rows in the few-shot prompt.
        model: As `ptune train --model` takes it.
    """

    kind: Literal["base", "few-shot", "lora", "agreement"]
    train: str
    test: str
    template: str
    is_free_text: bool
    max_rows: int | None = None
    seed: int = 0
    batch_size: int = 32
    training_seconds: float = 600.0
    max_steps: int | None = None
    num_examples: int = 5
    model: str = "default"


class Result(Struct, frozen=True):
    """What was found; times in seconds."""

    answers: list[str]
    evaluation_seconds: float
    training_seconds: float | None = None
    steps: int | None = None
    tokens_per_second: float | None = None
    peak_memory_bytes: int | None = None
    losses: list[float] = []
    num_agreeing: int | None = None


def compute(request: Request) -> Result:
    """Answer a request."""
    found = resolve(request.model, lambda *_: None, lambda *_: None)
    # Beside LoRA's float copy the codes are enough.
    kernel = "cached" if request.kind in ("base", "few-shot") else "stream"
    frozen = load_frozen(found.path, found.name, "int4", kernel)
    if request.is_free_text and request.kind in ("base", "few-shot"):
        frozen = ending_at_line_break(frozen)
    task = _TaskRows(frozen, request)
    if request.kind in ("base", "few-shot"):
        return task.answered_by(frozen)
    adapted = lora_model(frozen, request.seed)
    if request.kind == "agreement":
        ours, theirs = task.answered_by(frozen), task.answered_by(adapted)
        pairs = zip(ours.answers, theirs.answers, strict=True)
        return msgspec.structs.replace(theirs, num_agreeing=sum(a == b for a, b in pairs))
    training = LoraTraining(
        request.training_seconds, request.batch_size, request.seed, request.max_steps
    )
    trained = train_lora(adapted.network, task.train, training)
    peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return msgspec.structs.replace(
        task.answered_by(adapted),
        training_seconds=trained.seconds,
        steps=len(trained.losses),
        tokens_per_second=trained.tokens_per_second,
        peak_memory_bytes=peak_memory_bytes,
        losses=trained.losses,
    )


class _TaskRows:
    """A task's rows in tokens, encoded as the program does it."""

    def __init__(self, frozen: FrozenModel, request: Request) -> None:
        train = read_rows(Path(request.train), DataConfig())
        num_examples = request.num_examples if request.kind == "few-shot" else 0
        examples = (Example(row.prompt, row.response) for row in train[:num_examples])
        self.rows = read_rows(Path(request.test), DataConfig())[: request.max_rows]
        self.labels = closed_set(train, "text" if request.is_free_text else "labels")
        self.encoder = RowEncoder(
            frozen.text.tokenizer,
            frozen.text.template(request.template, request.is_free_text),
            frozen.text.end_token_id,
            Preface(examples=tuple(examples)),
        )
        # Examples make the template long.
        context = frozen.config.max_position_embeddings
        most = context - _ANSWER_ROOM if request.kind == "few-shot" else _MAX_TOKENS
        limit, self.longest = prompt_limit(train, self.encoder, most)
        self.train = encode_rows(train, self.encoder, limit)
        self.encoded = encode_rows(self.rows, self.encoder, limit)

    def answered_by(self, frozen: FrozenModel) -> Result:
        """Every test row's answer."""
        evaluator = Evaluator(frozen, self.encoder, self.labels, answer_limit(self.longest))
        scores = evaluator.score(None, self.rows, self.encoded)
        return Result(scores.answers, scores.seconds)


def ending_at_line_break(frozen: FrozenModel) -> FrozenModel:
    """A base that was never tuned to end its answers: they end with the line."""
    line_break = line_break_token(frozen.text.tokenizer)
    if line_break is None:
        raise ValueError(f"{frozen.name} has no token for a line break")
    return dataclasses.replace(
        frozen, text=dataclasses.replace(frozen.text, end_token_id=line_break)
    )


def main() -> None:
    torch.set_num_threads(default_num_threads())
    request = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Request)
    result = compute(request)
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(result))
    if result.num_agreeing is not None:
        print(json.dumps({"rows": len(result.answers), "agreeing": result.num_agreeing}))


if __name__ == "__main__":
    main()
