"""A child of a bench: prepares files, or holds one contender and does its part when asked.

Requests come on standard input. Replies go to a copy of standard output, which is then pointed at
standard error, so that nothing that native code prints gets in between.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ptune_tui.errors import explain
from ptune_tui.worker.bench.messages import (
    Computed,
    Failed,
    Loaded,
    Request,
    TakeGradient,
    decode_request,
    say,
)
from ptune_tui.worker.bench.peak_memory import forget_peak, peak_memory_bytes

ANSWERING = "answering:"

if TYPE_CHECKING:
    from ptune_tui.training_speed import BenchDevice
    from ptune_tui.worker.bench.contender import Contender, MeasuredSteps
    from ptune_tui.worker.bench.shared_files import ChildSetting, SharedFolder


def main(arguments: list[str]) -> int:
    """Be the child that the command line names; returns its exit code.

    Args:
        arguments (list[str]): The shared folder and the role, see the package.
    """
    # bitsandbytes fetches native code from a hub where the package `kernels` is installed.
    sys.modules["kernels"] = None  # type: ignore[assignment]
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    folder, role = Path(arguments[0]), arguments[1]
    try:
        if role.startswith(ANSWERING):
            # How long these take to start is measured: nothing is imported that they do without.
            from ptune_tui.worker.bench.answering.child import run

            run(folder, role.removeprefix(ANSWERING), replies)
        else:
            from ptune_tui.worker.bench.shared_files import SharedFolder

            _run(SharedFolder(folder), role, replies)
    except Exception as error:
        # Whatever it is, the bench must learn that this contender is out, and why.
        traceback.print_exc()
        reason = explain(error)
        say(replies, Failed(reason.category, reason.message, reason.hint))
        return reason.exit_code
    return 0


def _run(folder: SharedFolder, role: str, replies: BinaryIO) -> None:
    import torch

    started = time.perf_counter()
    child = folder.read_setting()
    torch.set_num_threads(child.setting.num_threads)
    if role == "prepare":
        from ptune_tui.worker.bench.prepare import prepare

        say(replies, prepare(child, folder))
        return
    contender = _contender(child, role, folder)
    gc.collect()
    device = child.setting.device
    loading_peak = peak_memory_bytes(device)
    is_forgotten = forget_peak(device)
    seconds = time.perf_counter() - started
    kept_peak = loading_peak if is_forgotten else None
    say(replies, Loaded(seconds, kept_peak, contender.computed_by))
    _serve(contender, device, replies)


def _contender(child: ChildSetting, role: str, folder: SharedFolder) -> Contender:
    side, _, variant = role.partition(":")
    if side == "ptune":
        from ptune_tui.worker.bench.ours import OurContender

        return OurContender(child, variant, folder)
    from ptune_tui.worker.bench.peft_contender import PeftContender

    return PeftContender(child, variant, folder)


def _serve(contender: Contender, device: BenchDevice, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    from ptune_tui.worker.bench.contender import MeasuredSteps

    steps = MeasuredSteps(contender, device)
    for line in sys.stdin.buffer:
        seconds, loss = _compute(decode_request(line), steps)
        say(replies, Computed(seconds, loss, peak_memory_bytes(device)))


def _compute(request: Request, steps: MeasuredSteps) -> tuple[float, float]:
    if not isinstance(request, TakeGradient):
        return steps.step()
    from safetensors.torch import save_file

    from ptune_tui.worker.bench.shared_files import GRADIENT

    seconds, loss = steps.gradient()
    gradient = steps.contender.prompt_gradient().detach().float().contiguous()
    save_file({GRADIENT: gradient}, request.path)
    return seconds, loss
