"""The probe of a plan: a few whole steps of the longest rows, before the first one that counts."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence

import torch

from export.encoding import EncodedRow
from ptune_tui.engine.batches import Batch, collate
from ptune_tui.engine.gradient import GradientStep
from ptune_tui.engine.memory import finish, forget_peak, peak_memory_bytes, used_bytes
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.plan import Plan

_NUM_STEPS = 2


def probe(
    step: GradientStep,
    plan: Plan,
    method: Method,
    lead_ids: list[int],
    rows: Sequence[EncodedRow],
    device: torch.device,
) -> tuple[float, int]:
    """Seconds of the fastest of a few whole steps, and the memory in bytes that they took.

    Random numbers and gradients are left as they were. The buffers are mapped here at their
    largest, so that memory stays flat from now on.

    Args:
        step (GradientStep): Of the plan.
        plan (Plan): What to try.
        method (Method): What is trained, at its start.
        lead_ids (list[int]): Template tokens that all rows begin with.
        rows (Sequence[EncodedRow]): Those of a step; the longest that there are.
        device (torch.device): Where the model computes.
    """
    forget_peak(device)
    before = used_bytes(device)
    batches: list[Batch] = [
        collate(rows[start : start + plan.micro_batch_size], len(lead_ids), plan.bucket_width)
        for start in range(0, len(rows), plan.micro_batch_size)
    ]
    generator = torch.get_rng_state()
    taken: list[float] = []
    for _ in range(_NUM_STEPS):
        finish(device)
        started = time.perf_counter()
        step(method(), lead_ids, batches)
        finish(device)
        taken.append(time.perf_counter() - started)
    for parameter in method.parameters():
        parameter.grad = None
    torch.set_rng_state(generator)
    gc.collect()
    # A process keeps the memory of a step; a card's is free again, so there the peak counts.
    after = peak_memory_bytes(device) if device.type == "cuda" else used_bytes(device)
    return min(taken), max(0, after - before)
