"""LoRA through PEFT on the same frozen weights: what a prompt is compared with.

LoRA adapts every projection of the dequantised model in float32, right-padded, with logits at the
labels alone, for a given wall-clock time.

Legend: B rows, T tokens of a row.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from torch.nn import functional

from export.encoding import EncodedRow
from ptune_tui.engine.batches import Batch, collate, sorted_batches, training_order
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import head_reads
from ptune_tui.evaluation.lora_settings import ALPHA, LEARNING_RATE, RANK
from ptune_tui.worker.bench.prepare import write_float_model
from quant.loading import LoadedModel

_WARMUP_SHARE = 0.03
# Padded tokens that are computed at a time: activations of LoRA hold about 1.5 MB each.
_MAX_MICRO_TOKENS = 2048


OnProgress = Callable[[float, int], None]


def _say_nothing(_seconds: float, _num_steps: int) -> None:
    pass


@dataclass(frozen=True)
class LoraTraining:
    """How LoRA is trained.

    Attributes:
        seconds: Its time.
        batch_size: Rows a step.
        seed: Of the order and of the first values.
        max_steps: Steps, where fewer are wanted than the time allows.
    """

    seconds: float
    batch_size: int
    seed: int = 0
    max_steps: int | None = None


@dataclass(frozen=True)
class LoraSteps:
    """What was trained.

    Attributes:
        losses: Of each step.
        seconds: All of it.
        tokens_per_second: Median.
    """

    losses: list[float]
    seconds: float
    tokens_per_second: float


def lora_model(frozen: FrozenModel, seed: int) -> FrozenModel:
    """The dequantised model with LoRA in every projection; it computes as the base until trained.

    Args:
        frozen (FrozenModel): Where the weights come from.
        seed (int): Of LoRA's first values.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float"
        write_float_model(frozen.config, frozen.loaded.weights, path)
        network: Any = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
        )
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0.0,
        target_modules="all-linear",
    )
    adapted = peft.get_peft_model(network, config).get_base_model().eval()
    # What the program's own embedding says of itself.
    adapted.get_input_embeddings().compute_dtype = torch.float32
    loaded = LoadedModel(adapted, frozen.loaded.report, {}, frozen.config)
    return FrozenModel(frozen.name, loaded, frozen.text, "float")


def train_lora(
    network: Any,
    rows: Sequence[EncodedRow],
    training: LoraTraining,
    on_progress: OnProgress = _say_nothing,
) -> LoraSteps:
    """Train for a while: AdamW, a short warm-up, then a cosine over the time that is left.

    Args:
        network (Any): With LoRA in it.
        rows (Sequence[EncodedRow]): Training rows.
        training (LoraTraining): For how long, and how.
        on_progress (OnProgress): Given seconds and whole steps so far, several times a step.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
    generator = torch.Generator().manual_seed(training.seed)
    order = training_order([row.num_tokens for row in rows], training.batch_size, generator)
    losses: list[float] = []
    speeds: list[float] = []
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < training.seconds:
        if training.max_steps is not None and len(losses) == training.max_steps:
            break
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate_share(elapsed / training.seconds)
        chosen = [rows[number] for number in next(order)]
        optimizer.zero_grad(set_to_none=True)
        losses.append(
            _backward(
                network, chosen, lambda: on_progress(time.perf_counter() - started, len(losses))
            )
        )
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        num_tokens = sum(row.num_tokens - 1 for row in chosen)
        speeds.append(num_tokens / (time.perf_counter() - started - elapsed))
    return LoraSteps(losses, time.perf_counter() - started, statistics.median(speeds))


def rate_share(share: float) -> float:
    """Share of the peak rate when a share of the time is over."""
    if share < _WARMUP_SHARE:
        return (share + 0.1 * _WARMUP_SHARE) / (1.1 * _WARMUP_SHARE)
    return 0.5 * (1.0 + math.cos(math.pi * (share - _WARMUP_SHARE) / (1.0 - _WARMUP_SHARE)))


def _backward(network: Any, rows: Sequence[EncodedRow], on_part: Callable[[], None]) -> float:
    """Add the gradient of the rows' mean loss, a few rows at a time; returns the loss."""
    num_labels = sum(len(row.response_ids) for row in rows)
    total = 0.0
    for batch in _micro_batches(rows):
        on_part()
        with head_reads(network, (batch.label_rows, batch.label_columns)):
            output = network(input_ids=batch.input_ids, use_cache=False)
        loss = functional.cross_entropy(output.logits[0], batch.labels, reduction="sum")
        (loss / num_labels).backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total / num_labels


def _micro_batches(rows: Sequence[EncodedRow]) -> Iterator[Batch]:
    for numbers in sorted_batches([row.num_tokens for row in rows], _MAX_MICRO_TOKENS):
        yield collate([rows[number] for number in numbers], 0)
